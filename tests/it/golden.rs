//! Download and grant tokens as this version signs them: a mailed link outlives the version that mailed it.

use auditshield::adapters::token::{DownloadClaim, GrantClaim, Links};

const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";
/// The moments at which the tokens were signed.
const MOMENTS: [u64; 3] = [0, 1_700_000_000, 4_300_000_000];

fn links() -> Links {
    Links::new("golden secret, not used anywhere else", [])
}

#[test]
fn tokens_read_as_they_were_meant_and_are_signed_the_same() {
    let mut made = String::new();
    for (n, at) in (1..).zip(MOMENTS) {
        made.push_str(&format!("download {at} {}\n", links().download_token(ORDER, n, at)));
        made.push_str(&format!("grant {at} {}\n", links().grant_token(ORDER, n, n + 1, at)));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1/tokens.txt");
    if !std::fs::exists(path).unwrap()
        && std::env::var("AUDITSHIELD_GOLDEN").is_ok_and(|word| word == "write")
    {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &made).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap();
    for (place, line) in text.lines().enumerate() {
        let [kind, at, token] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (issued_at, order, link) =
            (at.parse().unwrap(), ORDER.to_owned(), u32::try_from(place).unwrap() / 2 + 1);
        match kind {
            "download" => {
                let claim = DownloadClaim { order, link, issued_at };
                assert_eq!(links().read_download(token, issued_at), Ok(claim));
            }
            _ => {
                let claim = GrantClaim { order, link, n: link + 1, issued_at };
                assert_eq!(links().read_grant(token, issued_at + 60, 60), Ok(claim));
            }
        }
    }
    assert_eq!(text, made);
}
