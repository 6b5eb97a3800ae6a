//! `auditshield demo`: shop, daemon, simulated CinetPay and mailbox in one process, with no network and no configuration.
//! It goes through the same code as `serve`; only the settings are made up here.

use std::path::Path;

use tokio::net::TcpListener;

use super::{Bound, Daemon, Error, Listeners, Metrics, demo_once, shutdown_signal};
use crate::config::{self, Given};
use crate::simulator::{self, Simulator, mailbox};

/// What the demonstration is asked for.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Buy, pay, receive and download once, print each step, and end.
    pub once: bool,
    /// The shop's port; `None` takes a free one.
    pub port: Option<u16>,
    /// Variables of the configuration that are other than the demonstration's own.
    pub set: Vec<(String, String)>,
}

/// The demonstration's product, a real file.
pub(super) const KIT: &[u8] = include_bytes!("../../config/files/audit-kit.md");
const PREVIEW: &[u8] = include_bytes!("../../config/files/audit-kit-apercu.md");
const PICTURE: &[u8] = include_bytes!("../../config/files/audit-kit.jpg");
const CATALOG: &str = include_str!("../../config/catalog.toml");

/// The running demonstration.
pub(super) struct Stage {
    pub(super) daemon: Daemon,
    pub(super) simulator: Simulator,
    pub(super) mailbox: mailbox::Mailbox,
    pub(super) store: std::path::PathBuf,
}

/// Runs the demonstration.
pub async fn demo(options: DemoOptions, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let folder = Scratch::new()?;
    let signal = shutdown_signal()?;
    let stage = raise(&folder.0, &options, super::recorder()?).await?;
    let shop = format!("http://{}/", stage.daemon.public);
    if options.once {
        let done = demo_once::run(&stage, say).await;
        let Stage { daemon, simulator, mailbox, store } = stage;
        daemon.run_until(std::future::ready(())).await?;
        let (order, done) = (done.as_ref().ok().cloned(), done.map(|_| ()));
        simulator.stop().await;
        mailbox.stop();
        done?;
        return demo_once::prove(&store, order.as_deref().unwrap_or_default(), say);
    }
    say("AuditShield, la démonstration / the demonstration");
    say(&format!("  boutique / shop        {shop}"));
    say(&format!("  boîte aux lettres      {}/mailbox/", stage.simulator.base_url()));
    say(&format!(
        "  administration         http://{}/admin/   (jeton / token: {ADMIN_TOKEN})",
        stage.daemon.admin
    ));
    say(&format!("  CinetPay simulé        {}", stage.simulator.base_url()));
    say("Ctrl-C pour arrêter / to stop.");
    let Stage { daemon, simulator, mailbox, .. } = stage;
    daemon.run_until(signal).await?;
    simulator.stop().await;
    mailbox.stop();
    Ok(())
}

/// The demonstration's admin token. It guards a store that is thrown away, on loopback.
const ADMIN_TOKEN: &str = "demo-admin-token-0123456789abcdef";

async fn raise(folder: &Path, options: &DemoOptions, metrics: Metrics) -> Result<Stage, Error> {
    let local = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let public = Bound::tcp(local(options.port.unwrap_or(0)).await?)?;
    let listeners = Listeners { public, admin: Bound::tcp(local(0).await?)? };
    let mailbox = mailbox::Mailbox::start(local(0).await?, mailbox::Settings::default())?;
    let cinetpay = simulator::Options { mailbox: Some(mailbox.clone()), ..simulator::Options::default() };
    let (api_key, site_id, secret) =
        (cinetpay.api_key.clone(), cinetpay.site_id.clone(), cinetpay.secret.clone());
    let simulator = simulator::start(local(0).await?, cinetpay).await?;
    let store = folder.join("store");
    std::fs::create_dir_all(folder.join("files"))?;
    std::fs::write(folder.join("catalog.toml"), CATALOG)?;
    std::fs::write(folder.join("files/audit-kit.md"), KIT)?;
    std::fs::write(folder.join("files/audit-kit-apercu.md"), PREVIEW)?;
    std::fs::write(folder.join("files/audit-kit.jpg"), PICTURE)?;
    let (public, admin) = (listeners.public.place.clone(), listeners.admin.place.clone());
    let own = [
        ("CINETPAY_ENV", "sandbox".to_owned()),
        ("CINETPAY_API_URL", simulator.base_url().to_owned()),
        ("CINETPAY_API_KEY", api_key),
        ("CINETPAY_SITE_ID", site_id),
        ("CINETPAY_WEBHOOK_SECRET", secret),
        ("AUDITSHIELD_SERVER__LISTEN", public.to_string()),
        ("AUDITSHIELD_SERVER__PUBLIC_URL", format!("http://{public}")),
        ("AUDITSHIELD_ADMIN__LISTEN", admin.to_string()),
        ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN.to_owned()),
        ("AUDITSHIELD_STORE__URL", format!("sled:{}", store.display())),
        ("AUDITSHIELD_CATALOG__PATH", folder.join("catalog.toml").display().to_string()),
        ("AUDITSHIELD_MAIL__URL", format!("smtp://{}?tls=none", mailbox.addr())),
        ("AUDITSHIELD_MAIL__FROM", "boutique@demo.example".to_owned()),
        ("AUDITSHIELD_MERCHANT__NAME", "Boutique Démo".to_owned()),
        ("AUDITSHIELD_MERCHANT__ADDRESS", "Rue des Jardins, Cocody, Abidjan".to_owned()),
        ("AUDITSHIELD_MERCHANT__CONTACT", "+225 07 00 00 00 00".to_owned()),
        ("AUDITSHIELD_MERCHANT__IDENTIFIERS", "RCCM CI-ABJ-0000-A-00000".to_owned()),
        ("AUDITSHIELD_SECRET_KEY", format!("{:032x}", rand::random::<u128>())),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let given = Given::only(own.into_iter().chain(options.set.iter().cloned()));
    let config = config::load(&given).map_err(|problems| Error::Demo(problems.to_string()))?;
    let daemon = Daemon::start(config, listeners, metrics).await?;
    Ok(Stage { daemon, simulator, mailbox, store })
}

/// A folder that vanishes with the demonstration.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("auditshield-demo-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed from the temporary folder is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
