//! The dashboard's pages: what they show, and what they must never do.

use super::*;

/// A browser that is logged in: its cookie, and what its forms bring along.
pub(super) struct Desk {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Stage {
    /// Logs in under this name.
    pub(super) async fn desk(&self, name: &str) -> Desk {
        let body = form(&[("token", TOKEN), ("name", name)]);
        let entered = post("/admin/login/").body(body).reply(&self.admin).await;
        assert_eq!(entered.status(), StatusCode::SEE_OTHER, "{}", text(&entered));
        let cookie = header(&entered, "set-cookie").split(';').next().unwrap().to_owned();
        let page = request().path("/admin/").header("cookie", &cookie).reply(&self.admin).await;
        let csrf = text(&page).split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        Desk { csrf: csrf.to_owned(), cookie }
    }
    pub(super) async fn look(&self, desk: &Desk, path: &str) -> Http<Bytes> {
        let call = request().path(path).header("cookie", &desk.cookie).header("accept", "text/html");
        call.reply(&self.admin).await
    }
    pub(super) async fn press(&self, desk: &Desk, path: &str, fields: &[(&str, &str)]) -> Http<Bytes> {
        let all: Vec<_> = fields.iter().copied().chain([("csrf", desk.csrf.as_str())]).collect();
        post(path).header("cookie", &desk.cookie).body(form(&all)).reply(&self.admin).await
    }
}

pub(super) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Every address that a page leads to.
fn addresses(page: &str) -> Vec<String> {
    let attributes = ["href=\"", "action=\""];
    let found = attributes.iter().flat_map(|name| page.split(name).skip(1));
    found.map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&")).collect()
}

#[tokio::test]
async fn a_search_finds_and_leaves_nothing_personal_in_addresses() {
    let stage = stage().await;
    let order = stage.sold().await;
    let desk = stage.desk("Awa").await;
    let check = async |fields: &[(&str, &str)], found: bool| {
        let sought = stage.press(&desk, "/admin/orders/", fields).await;
        let at = header(&sought, "location").to_owned();
        assert_eq!(sought.status(), StatusCode::SEE_OTHER, "{fields:?}: {}", text(&sought));
        assert!(!at.contains('@') && !at.contains("%40") && !at.contains("MP1"), "{at}");
        let page = stage.look(&desk, &at).await;
        assert_eq!(page.status(), StatusCode::OK, "{at}");
        assert_eq!(text(&page).contains(&format!("/admin/orders/{order}/")), found, "{fields:?}");
        for address in addresses(text(&page)) {
            assert!(!address.contains('@') && !address.contains("%40"), "{address}");
        }
        at
    };
    check(&[("q", "Awa@Example.ci")], true).await;
    check(&[("q", "kofi@example.gh")], false).await;
    check(&[("q", "mp1"), ("status", "PAID")], true).await;
    check(&[("q", "awa@example.ci"), ("status", "FAILED")], false).await;
    check(&[("status", "PAID"), ("since", "2020-01-01")], true).await;
    check(&[("until", "2020-01-01")], false).await;
    check(&[("mail", "stalled")], false).await;
    let whole = stage.press(&desk, "/admin/orders/", &[("q", &order.to_string().to_lowercase())]).await;
    assert_eq!(
        header(&whole, "location"),
        format!("/admin/orders/{order}/"),
        "a whole number leads to its order"
    );
    let at = check(&[("q", "awa@example.ci")], true).await;
    let other = stage.desk("Kofi").await;
    let page = stage.look(&other, &at).await;
    let said = text(&page);
    assert!(
        !said.contains("awa@example.ci") && !said.contains(&order.to_string()),
        "another session's search"
    );
    assert!(said.contains("n’est plus en mémoire"), "{said}");
    for bad in ["status=NONE", "since=yesterday", "cursor=x", "mail=x", "status=PAID&status=PAID"] {
        assert_eq!(stage.look(&desk, &format!("/admin/orders/?{bad}")).await.status(), 400, "{bad}");
    }
    assert_eq!(stage.press(&desk, "/admin/orders/", &[("q", &"x".repeat(255))]).await.status(), 400);
}

/// What a buyer or CinetPay writes is text wherever it is shown.
#[tokio::test]
async fn nobody_writes_html_into_the_dashboard() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let stage = stage().await;
    *stage.world.operator.lock().unwrap() = Some((EVIL.to_owned(), EVIL.to_owned()));
    let body = serde_json::json!({"email": "a&b'<i>@example.ci", "name": EVIL});
    let refused = buy("x").body(body.to_string()).reply(&stage.public).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "such an address is none");
    let body = serde_json::json!({"email": "a&b'c@example.ci", "name": EVIL});
    let bought = buy("x").body(body.to_string()).reply(&stage.public).await;
    let order = json(&bought)["order_id"].as_str().unwrap().to_owned();
    stage.world.paid.lock().unwrap().insert(OrderId::parse(&order).unwrap());
    let desk = stage.desk(EVIL).await;
    let note = [("note", EVIL)];
    for (act, fields) in [("verify", &[][..]), ("resend", &note[..]), ("revoke", &note[..])] {
        let pressed = stage.press(&desk, &format!("/admin/orders/{order}/{act}/"), fields).await;
        assert_eq!(pressed.status(), StatusCode::SEE_OTHER, "{act}: {}", text(&pressed));
    }
    let paths = [
        "/admin/".to_owned(),
        "/admin/orders/".to_owned(),
        format!("/admin/orders/{order}/"),
        format!("/admin/orders/{order}/?done={EVIL}").replace(['<', '>', '"', ' '], "%3C"),
        format!("/admin/orders/{order}/refund/"),
        "/admin/orders/?status=%3Cscript%3E".to_owned(),
        "/admin/%3Cscript%3Ealert(1)%3C/script%3E/".to_owned(),
    ];
    for path in paths {
        let page = stage.look(&desk, &path).await;
        let said = text(&page);
        assert!(
            !said.contains("<script") && !said.contains("<img src") && !said.contains("\"'>"),
            "{path}: {said}"
        );
    }
    let page = stage.look(&desk, &format!("/admin/orders/{order}/")).await;
    assert!(text(&page).matches("alert(1)").count() >= 6, "the words are there, as text: {}", text(&page));
    let failed = stage
        .press(&desk, &format!("/admin/orders/{order}/address/"), &[("email", EVIL), ("note", EVIL)])
        .await;
    assert_eq!(failed.status(), StatusCode::BAD_REQUEST);
    assert!(!text(&failed).contains("<script") && !text(&failed).contains("<img src"), "{}", text(&failed));
}

#[tokio::test]
async fn no_page_is_framed_cached_or_told_to_others() {
    let stage = stage().await;
    let order = stage.with_status("REVIEW").await;
    let desk = stage.desk("Awa").await;
    let paths = [
        "/admin/".to_owned(),
        "/admin/orders/".to_owned(),
        format!("/admin/orders/{order}/"),
        format!("/admin/orders/{order}/approve/"),
        format!("/admin/orders/{order}/resend/"),
        format!("/admin/orders/{order}/dance/"),
        format!("/admin/orders/{order}/dossier/"),
        format!("/admin/orders/{order}/proof/"),
        "/admin/exports/".to_owned(),
        "/admin/settlement/".to_owned(),
        "/admin/nowhere/".to_owned(),
        "/nowhere/".to_owned(),
    ];
    for path in paths {
        for cookie in [desk.cookie.as_str(), "none=1"] {
            let call = request().path(&path).header("cookie", cookie).header("accept", "text/html");
            let page = call.reply(&stage.admin).await;
            let csp = header(&page, "content-security-policy");
            assert!(
                csp.starts_with("default-src 'none'") && csp.contains("frame-ancestors 'none'"),
                "{path}: {csp}"
            );
            assert!(csp.contains("form-action 'self';") && !csp.contains("unsafe"), "{path}: {csp}");
            for (name, want) in [
                ("x-frame-options", "DENY"),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("referrer-policy", "same-origin"),
            ] {
                assert_eq!(header(&page, name), want, "{path}");
            }
            assert!(!text(&page).contains("/achats/"), "{path}: the shop's pages are not here");
        }
    }
}

#[tokio::test]
async fn a_login_leads_nowhere_else_and_writes_no_header() {
    let stage = stage().await;
    let order = stage.bought().await;
    let path = format!("/admin/orders/{order}/");
    let door = request().path(&path).header("accept", "text/html").reply(&stage.admin).await;
    assert_eq!(door.status(), StatusCode::UNAUTHORIZED);
    assert!(text(&door).contains(&format!("name=\"next\" value=\"{path}\"")), "{}", text(&door));
    let enter = async |name: &str, next: &str| {
        post("/admin/login/")
            .body(form(&[("token", TOKEN), ("name", name), ("next", next)]))
            .reply(&stage.admin)
            .await
    };
    assert_eq!(header(&enter("Awa", &path).await, "location"), path);
    for next in [
        "//evil.example/",
        "https://evil.example/",
        "/admin/\r\nSet-Cookie: a=b",
        "/\\evil.example",
        "/commande/",
    ] {
        let entered = enter("Awa", next).await;
        assert_eq!(header(&entered, "location"), "/admin/", "{next:?}");
        assert_eq!(entered.headers().get_all("set-cookie").iter().count(), 1, "{next:?}");
    }
    for name in ["Awa\r\nSet-Cookie: a=b", "Awa\u{0}", "buyer", "Buyer", &"é".repeat(61)] {
        let refused = enter(name, "").await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{name:?}");
        assert!(refused.headers().get("set-cookie").is_none(), "{name:?}");
    }
}

#[tokio::test]
async fn the_first_page_says_what_needs_somebody() {
    let stage = stage().await;
    let desk = stage.desk("").await;
    let quiet = stage.look(&desk, "/admin/").await;
    assert!(text(&quiet).contains("Rien n’attend"), "{}", text(&quiet));
    let review = stage.with_status("REVIEW").await;
    stage.world.unmailable.lock().unwrap().insert("awa@example.ci".to_owned());
    let order = stage.bought().await;
    stage.world.paid.lock().unwrap().insert(order);
    let pressed = stage.press(&desk, &format!("/admin/orders/{order}/verify/"), &[]).await;
    assert_eq!(pressed.status(), StatusCode::SEE_OTHER);
    for _ in 0..200 {
        if stage.deps.ledger.stalled() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let page = stage.look(&desk, "/admin/").await;
    let said = text(&page).replace('\u{202f}', " ");
    for want in [
        "Paiements à décider : 1",
        "e-mail refusé pour de bon : 1",
        "15 000 FCFA",
        "1 commande payée",
        &format!("/admin/orders/{review}/"),
        "/admin/orders/?mail=stalled",
    ] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let stalled = stage.look(&desk, "/admin/orders/?mail=stalled").await;
    assert!(text(&stalled).contains(&order.to_string()) && !text(&stalled).contains(&review.to_string()));
    let english = stage.look(&desk, "/admin/?lang=en").await;
    assert!(
        text(&english).contains("<html lang=\"en\">") && text(&english).contains("Payments to decide: 1")
    );
    assert!(header(&english, "set-cookie").starts_with("lang=en;"), "the choice is remembered");
}
