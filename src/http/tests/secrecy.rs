//! Nothing personal where it does not belong, and nothing of a stranger's in our pages.

use super::*;

const EMAIL: &str = "awa.sekou@example.ci";

async fn bought(stage: &Stage) -> (OrderId, Http<Bytes>) {
    let form = post("/buy/audit-kit/standard/").header("accept", "text/html");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let body = "email=awa.sekou%40example.ci&name=Awa+Sekou&phone=%2B2250700000042";
    let answer = form.body(body).reply(&stage.public).await;
    let id = header(&answer, "location").rsplit('/').next().unwrap().to_owned();
    (OrderId::parse(&id).unwrap(), answer)
}

/// Every page that an order has, in every header of it, and in what strangers see of it.
#[tokio::test]
async fn nothing_personal_leaves_the_order_s_own_page() {
    let stage = stage().await;
    let (order, answer) = bought(&stage).await;
    let personal = |text: &str| ["sekou", "Sekou", "0700000042"].iter().any(|one| text.contains(one));
    let headers = |answer: &Http<Bytes>| {
        answer
            .headers()
            .values()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    assert!(headers(&answer).iter().all(|value| !personal(value)), "{:?}", headers(&answer));
    for path in [
        format!("/payment/return/?transaction_id={order}"),
        format!("/payment/status/{order}/"),
        format!("/commande/{order}/"),
        format!("/commande/{order}/recu/"),
        format!("/commande/{order}/recu.pdf"),
    ] {
        let page = stage.get(&path).await;
        assert!(!personal(text(&page)), "{path}: {}", text(&page));
        assert_eq!(header(&page, "cache-control"), "no-store", "{path}");
    }
    let own = request().path(&format!("/commande/{order}/")).header("accept", "text/html");
    let own = own.header("cookie", format!("achat=browser:{order}:0")).reply(&stage.public).await;
    assert!(text(&own).contains(EMAIL) && header(&own, "cache-control") == "no-store");
    assert!(headers(&own).iter().all(|value| !personal(value)));
    let urls = text(&own).split(['"', ' ']).filter(|part| part.starts_with('/') || part.starts_with("http"));
    assert!(urls.clone().count() > 5 && urls.clone().all(|url| !personal(url)));
}

/// Pages cannot be framed, run nothing that is not ours, and send nobody's address along.
#[tokio::test]
async fn every_page_has_its_guards() {
    let stage = stage().await;
    let order = stage.sold().await;
    for path in [
        "/",
        "/buy/audit-kit/standard/",
        "/buy/nothing/x/",
        "/achats/",
        "/nowhere",
        "/payment/return/",
        "/download/x/",
        &format!("/download/mail:{order}:1/"),
        "/commande/x/",
        &format!("/commande/{order}/"),
    ] {
        let page = stage.get(path).await;
        let policy = header(&page, "content-security-policy");
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "script-src 'self'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&page, "x-frame-options"), "DENY", "{path}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&page, "referrer-policy"), "no-referrer", "{path}");
        let text = text(&page);
        assert!(
            !text.contains("<script>") && !text.contains(" style=") && !text.contains(" onclick"),
            "{path}"
        );
    }
}

/// What strangers put into addresses and fields comes back as text or not at all, and leads nowhere else.
#[tokio::test]
async fn injections_and_redirects_are_refused() {
    let stage = stage().await;
    const MARK: &str = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/?lang=MARK",
        "/nowhere/MARK?lang=en",
        "/buy/audit-kit/MARK/",
        "/buy/MARK/standard/",
        "/achats/?email=MARK",
        "/payment/return/?transaction_id=MARK&lang=en",
        "/commande/MARK/",
        "/commande/lien/MARK/",
        "/download/MARK/",
        "/commande/x/?fait=MARK",
        "/pictures/MARK",
        "/assets/MARK",
        "//evil.example/",
        "/%5Cevil.example/",
        "/payment/return/?url=https://evil.example/&next=//evil.example/",
        "/commande/lien/..%2F..%2Fevil/",
        "/?lang=en%0D%0ASet-Cookie:%20x=y",
        "/buy/audit-kit/standard/?lang=en%0d%0aLocation:%20//evil.example",
    ] {
        let answer = stage.get(&path.replace("MARK", MARK)).await;
        assert!(!text(&answer).contains("<script>alert"), "{path}");
        assert!(!answer.headers().contains_key("location"), "{path}: {:?}", answer.headers());
        for value in answer.headers().get_all("set-cookie") {
            let ours = ["lang=fr;", "lang=en;", "visite="]
                .iter()
                .any(|one| value.as_bytes().starts_with(one.as_bytes()));
            assert!(ours, "{path}: {value:?}");
        }
    }
    for body in [
        "email=MARK&name=MARK&phone=MARK",
        "email=awa%40example.ci&name=MARK&phone=MARK&lang=fr",
        "email=x&use=MARK&checked=x&request=MARK",
    ] {
        for path in ["/buy/audit-kit/standard/", "/achats/", "/payment/return/"] {
            let form = post(path).header("accept", "text/html");
            let form = form.header("content-type", "application/x-www-form-urlencoded");
            let answer = form.body(body.replace("MARK", MARK)).reply(&stage.public).await;
            assert!(!text(&answer).contains("<script>alert"), "{path} {body}");
            assert!(!answer.headers().contains_key("location"), "{path} {body}");
        }
    }
}
