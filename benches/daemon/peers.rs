//! What a user would otherwise pick: Django and PHP, installed by `benches/peers/install`; and nginx as a file server.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::child::{Running, address};
use crate::notices::WEBHOOK_SECRET;
use crate::{Outcome, machine};

/// Where the notifications of both go.
pub(crate) const PATH: &str = "/payment/callback";

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

/// A server, and a second one behind it.
pub(crate) struct Peer {
    pub(crate) front: Running,
    back: Option<Back>,
}

/// It ends with this value.
struct Back(Child);

impl Peer {
    /// All of its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let back = self.back.iter().flat_map(|back| machine::family(back.0.id()));
        machine::family(self.front.pid()).into_iter().chain(back).collect()
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        machine::end(&mut self.0);
    }
}

/// How nginx passes a notification to gunicorn, and to PHP-FPM.
const TO_GUNICORN: &str = "proxy_pass http://unix:@FOLDER@/django.sock;";
const TO_PHP: &str = "include /etc/nginx/fastcgi_params;
            fastcgi_pass unix:@FOLDER@/php.sock;
            fastcgi_keep_conn on;
            fastcgi_param SCRIPT_FILENAME @SCRIPT@;
            fastcgi_param PEER_DATABASE @FOLDER@/php.sqlite;
            fastcgi_param PEER_SECRET @SECRET@;";

/// nginx and gunicorn, with its ordinary workers. Few of them, for SQLite lets one write at a time and does not queue
/// the others.
pub(crate) async fn django(folder: &Path) -> Outcome<Peer> {
    forget(folder, "django.sqlite")?;
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/bin/gunicorn"));
    command
        .arg("--bind")
        .arg(format!("unix:{}", folder.join("django.sock").display()))
        .args(["--workers", "4", "--log-level", "warning", "--preload", "--chdir"])
        .arg(here(""))
        .arg("django_webhook:application")
        .env("PEER_DATABASE", folder.join("django.sqlite"))
        .env("PEER_SECRET", WEBHOOK_SECRET)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    behind_nginx(folder, command, TO_GUNICORN).await
}

/// nginx and PHP-FPM.
pub(crate) async fn php(folder: &Path) -> Outcome<Peer> {
    forget(folder, "php.sqlite")?;
    let make = "$db = new PDO('sqlite:' . $argv[1]); $db->exec('PRAGMA journal_mode=WAL'); $db->exec('CREATE TABLE notice \
                (digest TEXT PRIMARY KEY, order_id TEXT NOT NULL, body TEXT NOT NULL, received INTEGER NOT NULL)');";
    let made = Command::new("php").args(["-r", make]).arg(folder.join("php.sqlite")).output()?;
    if !made.status.success() {
        return Err(format!("php: {}", String::from_utf8_lossy(&made.stdout)).into());
    }
    let config = fill(folder, "php-fpm.conf", &[])?;
    let program = ["8.2", "8.3", "8.4"].map(|version| PathBuf::from(format!("/usr/sbin/php-fpm{version}")));
    let program =
        program.into_iter().find(|path| path.exists()).ok_or("no PHP-FPM: run benches/peers/install")?;
    let mut command = Command::new(program);
    command.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]).arg(config);
    behind_nginx(folder, command, TO_PHP).await
}

async fn behind_nginx(folder: &Path, mut command: Command, callback: &str) -> Outcome<Peer> {
    let said = File::create(folder.join("said-behind"))?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    let back = Back(command.spawn().map_err(|why| format!("{command:?}: {why}; run benches/peers/install"))?);
    let mut peer = serve(folder, PATH, callback).await?;
    peer.back = Some(back);
    Ok(peer)
}

/// nginx over the files of `folder`; started once `path` is answered.
pub(crate) async fn nginx(folder: &Path, path: &str) -> Outcome<Peer> {
    serve(folder, path, "return 404;").await
}

async fn serve(folder: &Path, path: &str, callback: &str) -> Outcome<Peer> {
    let listen = address()?;
    let script = here("webhook.php").display().to_string();
    let callback = callback
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@SCRIPT@", &script)
        .replace("@SECRET@", WEBHOOK_SECRET);
    let values = [("@LISTEN@", listen.to_string()), ("@CALLBACK@", callback)];
    let config = fill(folder, "nginx.conf", &values)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(config);
    Ok(Peer { front: Running::start(command, listen, path, &folder.join("said")).await?, back: None })
}

/// A configuration with this run's folder and addresses, in the folder.
fn fill(folder: &Path, name: &str, values: &[(&str, String)]) -> Outcome<PathBuf> {
    let mut text = std::fs::read_to_string(here(name))?.replace("@FOLDER@", &folder.display().to_string());
    for (mark, value) in values {
        text = text.replace(mark, value);
    }
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Away with a database and what SQLite keeps beside it.
fn forget(folder: &Path, name: &str) -> Outcome<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(folder.join(format!("{name}{suffix}"))) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
