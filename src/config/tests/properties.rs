//! Whatever stands in a file or a variable: read, or refused in whole sentences that keep secrets.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "canary-5Gx-that-nobody-prints";

/// Lines of TOML: known and unknown sections, every type of value, and rubbish.
fn toml_text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "\\[(server|verify|limits|log|x)\\]",
        "(listen|first_poll|buy_per_minute|level|x) = (\"[a-z0-9:.]{0,12}\"|[0-9]{1,20}|1\\.5|true|\\[1, \"a\"\\]|1979-05-27)",
        "[ -~]{0,30}",
        "\\PC{0,10}",
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

fn said(outcome: Result<Config, Problems>) -> Vec<String> {
    outcome.err().map_or_else(Vec::new, |Problems(all)| all.iter().map(ToString::to_string).collect())
}

/// One variable, and what a plain reading of it says.
fn number_agrees(name: &str, text: &str, low: u64, high: u64) {
    let plain = text.trim();
    let digits = plain.strip_prefix('+').unwrap_or(plain);
    let right = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u64>().is_ok_and(|number| (low..=high).contains(&number));
    // An empty text is "not set": the default stands.
    let want = right || plain.is_empty();
    assert_eq!(Shop::new().load(&[(name, text)]).is_ok(), want, "{name}={text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_read_or_refused_line_by_line(toml in toml_text(), dotenv in "([A-Z_]{1,30}=[ -~]{0,20}\n|[ -~]{0,20}\n){0,4}") {
        let shop = Shop::new();
        let mut given = shop.given(&[("CINETPAY_API_KEY", SECRET), ("CINETPAY_WEBHOOK_SECRET", SECRET)]);
        given.file = Some(shop.write("a.toml", &format!("secret_key = \"{SECRET}\"\n{toml}")).into());
        given.env_file = Some(shop.write("a.env", &dotenv).into());
        for line in said(load(&given)) {
            prop_assert!(!line.contains(['\n', '\r']) && line.contains(" / ") && !line.contains(SECRET), "{}", line);
        }
    }

    #[test]
    fn any_catalogue_is_read_or_refused_line_by_line(slug in "[a-zA-Z0-9_./-]{0,8}", name in "\\PC{0,8}", price in any::<i64>(), currency in "XOF|usd|EUR|", file in "(kit.bin|\\./kit.bin|\\.\\./x|/etc/passwd|\\PC{0,6})") {
        let shop = Shop::new();
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        shop.write("catalog.toml", &format!(
            "[[product]]\nslug = {}\nname = {}\n[[product.tier]]\nid = \"one\"\nname = \"One\"\nprice = {price}\ncurrency = {}\nfile = {}\n",
            quoted(&slug), quoted(&name), quoted(&currency), quoted(&file),
        ));
        let edges = slug.starts_with(|one: char| one.is_ascii_alphanumeric()) && slug.ends_with(|one: char| one.is_ascii_alphanumeric());
        let plain = edges && slug.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || "-_".contains(one));
        let amount = u64::try_from(price).is_ok_and(|price| match currency.as_str() {
            "XOF" => (100..=100_000_000).contains(&price) && price % 5 == 0,
            "usd" => (20..=100_000_000).contains(&price),
            _ => false,
        });
        let right = plain && amount && !name.trim().is_empty() && ["kit.bin", "./kit.bin"].contains(&file.as_str());
        let problems = said(shop.load(&[]));
        prop_assert_eq!(problems.is_empty(), right, "{:?}", problems);
        prop_assert!(problems.iter().all(|line| !line.contains(['\n', '\r']) && line.starts_with("AUDITSHIELD_CATALOG__PATH")));
    }

    #[test]
    fn a_value_is_the_same_from_every_layer(seats in 2_u64..60_000, ttl in 1_u64..5000) {
        let shop = Shop::new();
        let file = shop.write("a.toml", &format!("[actors]\nseats = {seats}\n[download]\nttl = \"{ttl}m\"\n"));
        let env = [("AUDITSHIELD_ACTORS__SEATS", seats.to_string()), ("AUDITSHIELD_DOWNLOAD__TTL", format!("{ttl}m"))];
        let lines: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let dotenv = shop.write("a.env", &lines.join("\n"));
        let pairs: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let layers = [
            Given { file: Some(file.into()), ..shop.given(&[]) },
            Given { env_file: Some(dotenv.into()), ..shop.given(&[]) },
            shop.given(&pairs),
        ];
        for given in layers {
            let config = load(&given).unwrap_or_else(|problems| panic!("{problems}"));
            prop_assert_eq!(config.actors.seats as u64, seats);
            prop_assert_eq!(config.download.ttl, Duration::from_secs(ttl * 60));
        }
    }

    #[test]
    fn a_number_is_digits_within_its_bounds(text in prop_oneof!["[0-9]{0,7}", "[+-]?[0-9]{1,22}", "[ -~]{0,6}"]) {
        number_agrees("AUDITSHIELD_DOWNLOAD__MAX_DOWNLOADS", &text, 1, 1000);
        number_agrees("AUDITSHIELD_LIMITS__BUY_PER_MINUTE", &text, 0, 1_000_000);
    }

    /// A value on two lines makes one line of one problem.
    #[test]
    fn a_problem_is_one_line(name in prop::sample::select(vec!["AUDITSHIELD_SERVER__LISTEN", "AUDITSHIELD_CATALOG__PATH", "CINETPAY_ENV", "AUDITSHIELD_SERVER__TRUSTED_PROXIES"]), text in "[a-z]{1,4}[\r\n]{1,2}[a-z]{1,4}") {
        let lines = said(Shop::new().load(&[(name, &text)]));
        prop_assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains(['\n', '\r'])), "{:?}", lines);
    }

    #[test]
    fn a_network_is_what_it_spells(ip in any::<[u8; 4]>(), bits in 0_u8..40, other in "[0-9a-fx./:]{0,12}") {
        let address = std::net::IpAddr::from(ip);
        let text = format!("{address}/{bits}");
        prop_assert_eq!(rules::network(&text).is_ok(), bits <= 32);
        prop_assert_eq!(rules::network(&address.to_string()).map(|net| net.contains(&address)), Ok(true));
        let known = other.parse::<std::net::IpAddr>().is_ok() || other.parse::<IpNet>().is_ok();
        prop_assert_eq!(rules::network(&other).is_ok(), known);
    }

    #[test]
    fn a_web_address_carries_no_login(user in "[a-z]{0,3}", password in "(:[a-z]{1,3})?", host in "[a-z]{1,5}\\.ci", path in "(/[a-z]{0,3})?", scheme in "https?|ftp|javascript") {
        let login = if user.is_empty() && password.is_empty() { String::new() } else { format!("{user}{password}@") };
        let read = rules::web_address(&format!("{scheme}://{login}{host}{path}"));
        prop_assert_eq!(read.is_ok(), scheme.starts_with("http") && login.is_empty());
    }
}

/// A file that never ends (a device, a pipe) is refused at its bound instead of filling the memory.
#[test]
fn an_endless_file_has_an_end() {
    let shop = Shop::new();
    let endless = |given: Given| said(load(&given)).iter().any(|line| line.contains("larger than"));
    assert!(endless(Given { file: Some("/dev/zero".into()), ..shop.given(&[]) }));
    assert!(endless(Given { env_file: Some("/dev/zero".into()), ..shop.given(&[]) }));
    assert!(endless(shop.given(&[("AUDITSHIELD_CATALOG__PATH", "/dev/zero")])));
    assert!(endless(shop.given(&[("CINETPAY_API_KEY_FILE", "/dev/zero")])));
}
