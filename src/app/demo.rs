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
    /// Daemons: with more than one, on a PostgreSQL database.
    pub nodes: usize,
}

/// The demonstration's product, a real file.
pub(super) const KIT: &[u8] = include_bytes!("../../config/files/audit-kit.md");
const PREVIEW: &[u8] = include_bytes!("../../config/files/audit-kit-apercu.md");
const PICTURE: &[u8] = include_bytes!("../../config/files/audit-kit.jpg");
const CATALOG: &str = include_str!("../../config/catalog.toml");

/// The running demonstration.
struct Stage {
    daemon: Daemon,
    offline: Offline,
    store: std::path::PathBuf,
}

/// The world around the daemon, or the daemons.
pub(super) struct Offline {
    pub(super) simulator: Simulator,
    pub(super) mailbox: mailbox::Mailbox,
    /// What only this simulator takes: key, site, secret.
    access: [(&'static str, String); 3],
}

impl Offline {
    pub(super) async fn stop(self) {
        self.simulator.stop().await;
        self.mailbox.stop();
    }
}

/// Runs the demonstration.
pub async fn demo(options: DemoOptions, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if options.nodes > 1 {
        return several(&options, say).await;
    }
    let folder = Scratch::new()?;
    let signal = shutdown_signal()?;
    let stage = raise(&folder.0, &options, super::recorder()?).await?;
    let shop = format!("http://{}", stage.daemon.public);
    if options.once {
        let Offline { simulator, mailbox, .. } = &stage.offline;
        let scene = demo_once::Scene { shop: &shop, till: &shop, simulator, mailbox };
        let done = demo_once::run(&scene, say, &mut |_| Ok(())).await;
        let Stage { daemon, offline, store } = stage;
        daemon.run_until(std::future::ready(())).await?;
        offline.stop().await;
        return demo_once::prove(&store, &done?, say);
    }
    say("AuditShield, la démonstration / the demonstration");
    say(&format!("  boutique / shop        {shop}/"));
    say(&format!("  boîte aux lettres      {}/mailbox/", stage.offline.simulator.base_url()));
    say(&format!(
        "  administration         http://{}/admin/   (jeton / token: {ADMIN_TOKEN})",
        stage.daemon.admin
    ));
    say(&format!("  CinetPay simulé        {}", stage.offline.simulator.base_url()));
    say("Ctrl-C pour arrêter / to stop.");
    stage.daemon.run_until(signal).await?;
    stage.offline.stop().await;
    Ok(())
}

#[cfg(feature = "postgres")]
async fn several(options: &DemoOptions, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    super::demo_nodes::demo(options, say).await
}

#[cfg(not(feature = "postgres"))]
async fn several(_: &DemoOptions, _: &mut dyn FnMut(&str)) -> Result<(), Error> {
    Err(Error::Lacking(
        "ce programme est compilé sans PostgreSQL, que plusieurs services partagent : prenez celui de « cargo build --release \
         --features postgres » (docs/scaling.md) / this program was built without PostgreSQL, which several daemons share: \
         take the one of `cargo build --release --features postgres` (docs/scaling.md)"
            .to_owned(),
    ))
}

/// The demonstration's admin token. It guards a store that is thrown away, on loopback.
pub(super) const ADMIN_TOKEN: &str = "demo-admin-token-0123456789abcdef";

async fn raise(folder: &Path, options: &DemoOptions, metrics: Metrics) -> Result<Stage, Error> {
    let local = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let public = Bound::tcp(local(options.port.unwrap_or(0)).await?)?;
    let listeners = Listeners { public, admin: Bound::tcp(local(0).await?)? };
    let offline = offline(folder).await?;
    let store = folder.join("store");
    let (public, admin) = (listeners.public.place.clone(), listeners.admin.place.clone());
    let key = format!("{:032x}", rand::random::<u128>());
    let mut own = settings(folder, &offline, &format!("http://{public}"), &key);
    own.extend(
        [
            ("AUDITSHIELD_SERVER__LISTEN", public.to_string()),
            ("AUDITSHIELD_ADMIN__LISTEN", admin.to_string()),
            ("AUDITSHIELD_STORE__URL", format!("sled:{}", store.display())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let given = Given::only(own.into_iter().chain(options.set.iter().cloned()));
    let config = config::load(&given).map_err(|problems| Error::Demo(problems.to_string()))?;
    let daemon = Daemon::start(config, listeners, metrics).await?;
    Ok(Stage { daemon, offline, store })
}

/// CinetPay, a mailbox, and the shop's files in `folder`.
pub(super) async fn offline(folder: &Path) -> Result<Offline, Error> {
    let local = || TcpListener::bind(("127.0.0.1", 0));
    let mailbox = mailbox::Mailbox::start(local().await?, mailbox::Settings::default())?;
    let cinetpay = simulator::Options { mailbox: Some(mailbox.clone()), ..simulator::Options::default() };
    let access = [
        ("CINETPAY_API_KEY", cinetpay.api_key.clone()),
        ("CINETPAY_SITE_ID", cinetpay.site_id.clone()),
        ("CINETPAY_WEBHOOK_SECRET", cinetpay.secret.clone()),
    ];
    let simulator = simulator::start(local().await?, cinetpay).await?;
    std::fs::create_dir_all(folder.join("files"))?;
    std::fs::write(folder.join("catalog.toml"), CATALOG)?;
    std::fs::write(folder.join("files/audit-kit.md"), KIT)?;
    std::fs::write(folder.join("files/audit-kit-apercu.md"), PREVIEW)?;
    std::fs::write(folder.join("files/audit-kit.jpg"), PICTURE)?;
    Ok(Offline { simulator, mailbox, access })
}

/// A daemon's settings but for its listeners and its store. `key` signs links: every node's is the same.
pub(super) fn settings(
    folder: &Path,
    offline: &Offline,
    public_url: &str,
    key: &str,
) -> Vec<(String, String)> {
    let own = [
        ("CINETPAY_ENV", "sandbox".to_owned()),
        ("CINETPAY_API_URL", offline.simulator.base_url().to_owned()),
        ("AUDITSHIELD_SERVER__PUBLIC_URL", public_url.to_owned()),
        ("AUDITSHIELD_ADMIN__TOKEN", ADMIN_TOKEN.to_owned()),
        ("AUDITSHIELD_CATALOG__PATH", folder.join("catalog.toml").display().to_string()),
        ("AUDITSHIELD_MAIL__URL", format!("smtp://{}?tls=none", offline.mailbox.addr())),
        ("AUDITSHIELD_MAIL__FROM", "boutique@demo.example".to_owned()),
        ("AUDITSHIELD_MERCHANT__NAME", "Boutique Démo".to_owned()),
        ("AUDITSHIELD_MERCHANT__ADDRESS", "Rue des Jardins, Cocody, Abidjan".to_owned()),
        ("AUDITSHIELD_MERCHANT__CONTACT", "+225 07 00 00 00 00".to_owned()),
        ("AUDITSHIELD_MERCHANT__IDENTIFIERS", "RCCM CI-ABJ-0000-A-00000".to_owned()),
        ("AUDITSHIELD_SECRET_KEY", key.to_owned()),
    ];
    own.into_iter().chain(offline.access.clone()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A folder that vanishes with the demonstration.
pub(super) struct Scratch(pub(super) std::path::PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Error> {
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
