//! nginx and Apache, with the shipped configurations, in front of the daemon. `tests/proxy/run` installs them.

mod files;
mod php;
mod sockets;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use auditshield::adapters::cinetpay::trial;
use auditshield::adapters::keyed_hash::KeyedHash;
use rcgen::{CertificateParams, KeyPair};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::process_support::{
    EMAIL, PATIENCE, SECRET_KEY, WEBHOOK_SECRET, World, has_tools, notice_saying, port,
};

/// The name in the shipped configurations.
const NAME: &str = "pay.example.ci";
/// Where the buyer comes from: not the address of the proxy.
const BUYER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Apache's modules that the configurations need, and those a main configuration of Debian's has anyway.
const MODULES: [&str; 9] = [
    "mpm_event",
    "authz_core",
    "setenvif",
    "headers",
    "rewrite",
    "proxy",
    "proxy_http",
    "ssl",
    "socache_shmcb",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nginx,
    Apache,
    Htaccess,
    /// The same with notify.php, and PHP to run it.
    Php,
}

impl Kind {
    /// Whether it is a whole server of one's own, or an account on somebody's.
    fn is_account(self) -> bool {
        matches!(self, Self::Htaccess | Self::Php)
    }
}

/// What the proxy reaches the daemon by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Port,
    Socket,
}

/// A proxy, the daemon behind it, and a buyer's client that comes from an address of its own.
struct Street {
    world: World,
    proxy: Child,
    base: String,
    client: Client,
    logs: PathBuf,
}

impl Drop for Street {
    fn drop(&mut self) {
        // SIGTERM: the workers end with their parent.
        let _ = Command::new("kill").arg(self.proxy.id().to_string()).status();
        let _ = self.proxy.wait();
    }
}

impl Street {
    async fn new(kind: Kind) -> Self {
        Self::raised(kind, "off", Over::Port).await
    }

    /// `by`: who sends the files, as `AUDITSHIELD_DOWNLOAD__SENDFILE` has it.
    async fn sending_files(kind: Kind, by: &str) -> Self {
        Self::raised(kind, by, Over::Port).await
    }

    async fn raised(kind: Kind, by: &str, over: Over) -> Self {
        let place = SocketAddr::from(([127, 0, 0, 1], port()));
        let base = match kind {
            Kind::Nginx | Kind::Apache => format!("https://{NAME}:{}", place.port()),
            Kind::Htaccess | Kind::Php => format!("http://{NAME}:{}", place.port()),
        };
        let mut world = World::new(&[
            ("AUDITSHIELD_SERVER__PUBLIC_URL", &base),
            ("AUDITSHIELD_SERVER__TRUSTED_PROXIES", "127.0.0.1"),
            ("AUDITSHIELD_VERIFY__FIRST_POLL", "24h"),
            ("AUDITSHIELD_DOWNLOAD__SENDFILE", by),
        ])
        .await;
        if over == Over::Socket {
            sockets::listen(&mut world);
        }
        if kind == Kind::Php {
            let spool = world.path("spool").display().to_string();
            world.settings.insert("AUDITSHIELD_SPOOL__FOLDER".to_owned(), spool);
        }
        let logs = world.path("logs");
        std::fs::create_dir(&logs).unwrap();
        let certificate = certificate(&world);
        let (program, arguments) = match kind {
            Kind::Nginx => ("/usr/sbin/nginx", nginx(&world, place)),
            Kind::Apache | Kind::Htaccess | Kind::Php => {
                ("/usr/sbin/apache2", apache(&world, place, kind, by))
            }
        };
        let said = std::fs::File::create(world.path("proxy")).unwrap();
        let proxy = Command::new(program)
            .args(arguments)
            .env("APACHE_LOG_DIR", &logs)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("the proxy; tests/proxy/run installs it");
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(BUYER)
            .resolve(NAME, place)
            .tls_certs_merge([reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap()])
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(place).is_err() {
            let said = std::fs::read_to_string(world.path("proxy")).unwrap();
            assert!(begun.elapsed() < PATIENCE, "{kind:?} does not listen: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if over == Over::Socket {
            // Nobody but the proxy reaches the daemon.
            (world.shop, world.client) = (base.clone(), client.clone());
        }
        world.start().await;
        // The test tells of payments itself, through the proxy.
        world.cinetpay.patch(&json!({"notify": {"enabled": false}})).unwrap();
        Self { world, proxy, base, client, logs }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn buy(&self) -> String {
        let request =
            self.client.post(self.at("/buy/audit-kit/standard/")).header("accept", "application/json");
        let answer = request.json(&json!({"email": EMAIL})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let body: Value = answer.json().await.unwrap();
        body["order_id"].as_str().unwrap().to_owned()
    }

    async fn notify(&self, form: String, token: &str) -> Response {
        let request = self.client.post(self.at("/payment/callback/")).header("x-token", token);
        // The buyer claims to be somebody else.
        let request = request.header("x-forwarded-for", "6.6.6.6").header("forwarded", "for=6.6.6.6");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap()
    }

    /// Everything the proxy has written down.
    fn written(&self) -> String {
        let files = std::fs::read_dir(&self.logs).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

/// For [`NAME`], signed by itself, beside its key in the world's folder.
fn certificate(world: &World) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(world.path("fullchain.pem"), certificate.pem()).unwrap();
    std::fs::write(world.path("privkey.pem"), key.serialize_pem()).unwrap();
    certificate.pem()
}

/// The shipped file, with this machine's ports and folders in it and nothing else changed.
fn shipped(world: &World, file: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file);
    let mut text = std::fs::read_to_string(path).unwrap();
    let certificates = world.path("").display().to_string();
    let (from, to) = sockets::upstream(world, file);
    let usual = [(from, to), ("/etc/letsencrypt/live/pay.example.ci/", certificates)];
    for (from, to) in usual.iter().chain(changes) {
        assert!(text.contains(from) || file.ends_with("htaccess"), "{file}: no {from}");
        text = text.replace(from, to);
    }
    text
}

/// The folder whose files a proxy may send.
fn files(world: &World) -> String {
    world.path("files").display().to_string()
}

fn nginx(world: &World, place: SocketAddr) -> Vec<String> {
    let logs = world.path("logs").display().to_string();
    let changes = [
        ("listen 80;", format!("listen 127.0.0.1:{};", port())),
        ("listen 443 ssl;", format!("listen {place} ssl;")),
        ("/var/log/nginx", logs.clone()),
        ("/etc/auditshield/files", files(world)),
    ];
    let site = shipped(world, "nginx/auditshield.conf", &changes);
    let folder = world.path("").display().to_string();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    let main = format!(
        "daemon off;\npid {folder}/pid;\nerror_log {logs}/error.log;\nuser root;\nevents {{}}\nhttp {{\n{temp}{site}\n}}\n"
    );
    let file = world.path("nginx.conf");
    std::fs::write(&file, main).unwrap();
    vec!["-p".to_owned(), folder, "-c".to_owned(), file.display().to_string()]
}

fn apache(world: &World, place: SocketAddr, kind: Kind, by: &str) -> Vec<String> {
    let folder = world.path("").display().to_string();
    let xsendfile = (by == "x-sendfile").then_some("xsendfile");
    let php = if kind == Kind::Php { &php::MODULES[..] } else { &[] };
    let loaded: Vec<String> = MODULES
        .into_iter()
        .chain(xsendfile)
        .chain(php.iter().copied())
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let mut main = format!(
        "ServerRoot {folder}\nServerName {NAME}\nPidFile {folder}/pid\nListen {place}\n{}\
         ErrorLog ${{APACHE_LOG_DIR}}/error.log\nMutex file:{folder}\n",
        loaded.concat()
    );
    if kind == Kind::Apache {
        let site = [("*:443", place.to_string()), ("/etc/auditshield/files", files(world))];
        main += &shipped(world, "apache/auditshield.conf", &site);
    } else {
        let root = world.path("public_html");
        std::fs::create_dir(&root).unwrap();
        let mut rules = shipped(world, "apache/htaccess", &[]);
        if kind == Kind::Php {
            rules = php::add(world, &root, &mut main) + &rules;
        }
        std::fs::write(root.join(".htaccess"), rules).unwrap();
        main += &format!(
            "DocumentRoot {0}\n<Directory {0}>\nAllowOverride All\nRequire all granted\n</Directory>\n",
            root.display()
        );
    }
    let file = world.path("apache.conf");
    std::fs::write(&file, main).unwrap();
    vec!["-f".to_owned(), file.display().to_string(), "-DFOREGROUND".to_owned()]
}

/// What a trial notification finds: the body as it was sent, the buyer's own address.
async fn arrives_as_sent(street: &Street) {
    let site = street.world.settings["CINETPAY_SITE_ID"].clone();
    let (form, token) = trial::notification(&site, "17", WEBHOOK_SECRET.as_bytes());
    let hash = KeyedHash::new(SECRET_KEY.as_bytes()).hex(form.as_bytes());
    let echo: Value = street.notify(form, &token).await.json().await.unwrap();
    assert_eq!(echo, json!({"trial": "17", "site": true, "body_hash": hash, "client": BUYER}));
    let large = street.notify("x=".repeat(40_000), &token).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for path in ["/admin/", "/metrics", "/api/orders"] {
        assert_eq!(street.client.get(street.at(path)).send().await.unwrap().status(), 404, "{path}");
    }
}

/// A sale as the waiting page sees it: each change at once, while the answer is still open. Returns the mailed link.
async fn events_come_at_once(street: &Street) -> String {
    let order = street.buy().await;
    let watched = street.client.get(street.at(&format!("/payment/status/{order}/")));
    let mut events = watched.header("accept", "text/event-stream").send().await.unwrap();
    let mut heard = String::new();
    let mut next = async |word: &str| {
        while !heard.contains(word) {
            let chunk = events.chunk().await.unwrap().expect("the stream has ended");
            heard += &String::from_utf8_lossy(&chunk);
        }
    };
    next("PENDING").await;
    street.world.cinetpay.approve(&order).unwrap();
    let (form, token) = notice_saying(&order, "Café étoilé & 100 %");
    assert_eq!(street.notify(form, &token).await.status(), StatusCode::OK);
    next("PAID").await;
    street.world.until(&order, "DELIVERED").await;
    let mails = street.world.mailbox.wait_for(1, PATIENCE).await;
    let text = mails[0].read().text.unwrap();
    let start = text.find(&street.at("/download/")).unwrap_or_else(|| panic!("no link: {text}"));
    text[start..].split_whitespace().next().unwrap().to_owned()
}

/// The page, the button, the file, and a piece of it. Returns the file's address.
async fn downloads_with_ranges(street: &Street, link: &str) -> String {
    let page = street.client.get(link).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let pressed = street.client.post(link).send().await.unwrap();
    assert_eq!(pressed.status(), StatusCode::SEE_OTHER);
    let place = pressed.headers()["location"].to_str().unwrap().to_owned();
    let place = reqwest::Url::parse(link).unwrap().join(&place).unwrap();
    let whole = street.client.get(place.clone()).send().await.unwrap();
    let tag = whole.headers()["etag"].clone();
    assert_eq!(whole.text().await.unwrap(), "The kit itself.\n");
    let piece = street.client.get(place.clone()).header("range", "bytes=4-6").header("if-range", tag);
    let piece = piece.send().await.unwrap();
    assert_eq!(piece.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(piece.headers()["content-range"], "bytes 4-6/16");
    assert_eq!(piece.text().await.unwrap(), "kit");
    place.to_string()
}

/// The secret part of an address under /download/.
fn token(address: &str) -> String {
    address.trim_end_matches('/').rsplit('/').next().unwrap().to_owned()
}

async fn whole_street(kind: Kind) {
    whole_way(Street::new(kind).await, kind).await;
}

async fn whole_way(mut street: Street, kind: Kind) {
    arrives_as_sent(&street).await;
    let link = events_come_at_once(&street).await;
    let place = downloads_with_ranges(&street, &link).await;
    // With the daemon gone, too: an error's line tends to hold the whole request.
    street.world.kill();
    for address in [&link, &place] {
        let answer = street.client.get(address).header("referer", &link).send().await.unwrap();
        assert!(answer.status().is_server_error(), "{}", answer.status());
    }
    let marked = street.client.get(street.at("/payment/return/?order=MARKED-QUERY"));
    assert!(marked.send().await.unwrap().status().is_server_error());
    if kind.is_account() {
        // The account's log is the host's.
        return;
    }
    let written = street.written();
    assert!(written.contains("/payment/callback/") && written.contains("/download/***"), "{written}");
    for secret in [token(&link).as_str(), token(&place).as_str(), "MARKED-QUERY"] {
        assert!(!written.contains(secret), "{secret} was written down: {written}");
    }
}

#[tokio::test]
async fn nginx_in_front() {
    if !has_tools("tests/proxy/run") {
        return;
    }
    whole_street(Kind::Nginx).await;
}

#[tokio::test]
async fn apache_in_front() {
    if !has_tools("tests/proxy/run") {
        return;
    }
    whole_street(Kind::Apache).await;
}

#[tokio::test]
async fn apache_with_a_htaccess_only() {
    if !has_tools("tests/proxy/run") {
        return;
    }
    whole_street(Kind::Htaccess).await;
}
