//! Exports page after page, the comparison's form, letters and proofs.

use super::*;
use crate::domain::event::Event;
use crate::domain::values::{Buyer, Email, Lang};

const FORM: &str = "application/x-www-form-urlencoded";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An order in the ledger, taken and paid at these moments. They lie far ahead: an order that were due now would be taken up
/// by its actor in between.
async fn kept(stage: &Stage, created: Timestamp, paid: Option<Timestamp>, chance: u128) -> OrderId {
    let id = OrderId::new(created, chance);
    let buyer =
        Buyer { email: Email::parse("awa@example.ci").unwrap(), name: None, phone: None, lang: Lang::Fr };
    let price = Money::price(15_000, Currency::Xof).unwrap();
    let taken = Event::Created {
        product: "audit-kit".to_owned(),
        tier: "standard".to_owned(),
        price,
        buyer,
        request: None,
    };
    let standing = stage.deps.ledger.commit(id, None, &[taken], created).await.unwrap();
    if let Some(paid) = paid {
        let paid_event = Event::Paid {
            attempt: Attempt::FIRST,
            provider_tx_id: Some(format!("MP{chance}")),
            payment_method: Some("OM".to_owned()),
            expires_at: paid,
            max_downloads: 5,
            approved: None,
        };
        stage.deps.ledger.commit(id, Some(&standing), &[paid_event], paid).await.unwrap();
    }
    id
}

/// The order numbers of an export, in its order.
async fn exported(stage: &Stage, query: &str) -> Vec<String> {
    let csv = stage.api("GET", &format!("/admin/exports/orders.csv?{query}"), "").await;
    assert_eq!(csv.status(), StatusCode::OK, "{}", text(&csv));
    let lines = text(&csv).split("\r\n").skip(1).filter(|line| !line.is_empty());
    let ids: Vec<String> = lines.map(|line| line.split(';').next().unwrap().to_owned()).collect();
    let jsonl = stage.api("GET", &format!("/admin/exports/orders.jsonl?{query}"), "").await;
    let same: Vec<String> = text(&jsonl)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["order_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids, same, "both shapes name the same orders");
    ids
}

/// More orders than three pages of the ledger, at every edge of the period: each once, none of the others.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_and_ends_where_its_days_end() {
    let stage = stage().await;
    let mut wanted = Vec::new();
    for (number, moment) in
        (0_u32..650).map(|number| (number, at("2126-11-10T00:00:00Z").millis() + i64::from(number) * 1_000))
    {
        let moment = Timestamp::from_millis(moment);
        wanted.push(kept(&stage, moment, Some(moment), u128::from(number)).await.to_string());
    }
    let day = |from: &str, to: &str, by: &str| format!("from={from}&to={to}&by={by}");
    wanted.reverse();
    assert_eq!(exported(&stage, &day("2126-11-10", "2126-11-10", "created_at")).await, wanted);
    assert_eq!(exported(&stage, &day("2126-11-10", "2126-11-10", "paid_at")).await, wanted);
    for empty in ["paid_at", "created_at"] {
        assert!(exported(&stage, &day("2126-11-11", "2126-11-30", empty)).await.is_empty());
        assert!(exported(&stage, &day("2126-10-01", "2126-11-09", empty)).await.is_empty());
    }
    // Taken before the period and paid in it; taken in it and paid after; taken in it and never paid.
    let late =
        kept(&stage, at("2126-01-02T10:00:00Z"), Some(at("2126-12-01T23:59:59.999Z")), 1).await.to_string();
    let next =
        kept(&stage, at("2126-12-01T00:00:00Z"), Some(at("2126-12-02T00:00:00Z")), 2).await.to_string();
    let never = kept(&stage, at("2126-12-01T12:00:00Z"), None, 3).await.to_string();
    assert_eq!(exported(&stage, &day("2126-12-01", "2126-12-01", "paid_at")).await, [late]);
    assert_eq!(exported(&stage, &day("2126-12-01", "2126-12-01", "created_at")).await, [never, next]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_is_none_is_refused() {
    let stage = stage().await;
    for (query, field) in [
        ("", "from"),
        ("from=2026-11-01", "to"),
        ("to=2026-11-01", "from"),
        ("from=2026-11-31&to=2026-12-01", "from"),
        ("from=2026-11-02&to=2026-11-01", "to"),
        ("from=1990-11-02&to=2026-11-01", "to"),
        ("from=2026-11-01&to=2026-11-02&by=nothing", "by"),
    ] {
        for ending in ["csv", "jsonl"] {
            let call = request()
                .path(&format!("/admin/exports/orders.{ending}?{query}"))
                .header("accept", "application/json")
                .header("authorization", format!("Bearer {TOKEN}"));
            let answer = call.reply(&stage.admin).await;
            assert_eq!(
                (answer.status(), json(&answer)["field"].as_str()),
                (StatusCode::BAD_REQUEST, Some(field)),
                "{query}"
            );
        }
    }
    let head = stage.api("HEAD", "/admin/exports/orders.csv?from=2026-11-01&to=2026-11-02", "").await;
    assert!(head.status() == StatusCode::OK && head.body().is_empty());
    assert_eq!(
        header(&head, "content-disposition"),
        "attachment; filename=\"auditshield-2026-11-01_2026-11-02.csv\""
    );
    assert_eq!(header(&head, "cache-control"), "no-store");
}

/// An export that nobody takes any more gives its place back; those that are taken are few at one time.
#[tokio::test(flavor = "multi_thread")]
async fn few_exports_run_at_one_time() {
    let stage = stage().await;
    let path = "/admin/exports/orders.csv?from=2026-11-01&to=2026-11-02";
    let begun = || async { route_of(&stage, path).await };
    let (one, two) = (begun().await, begun().await);
    assert_eq!((one.status(), two.status()), (StatusCode::OK, StatusCode::OK));
    let third = begun().await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(third.headers().contains_key("retry-after"));
    drop(one);
    assert_eq!(begun().await.status(), StatusCode::OK);
}

/// The answer with its body still to be read.
async fn route_of(stage: &Stage, path: &str) -> Response {
    use tower::ServiceExt;
    let call = warp::http::Request::get(path).header("authorization", format!("Bearer {TOKEN}"));
    let service = warp::service(stage.admin.clone());
    service.oneshot(call.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await.unwrap()
}

/// A session's cookie and CSRF token, as its own pages give them.
async fn session(stage: &Stage) -> (String, String) {
    let entered = post("/admin/login/")
        .header("content-type", FORM)
        .body(format!("token={}", TOKEN.replace(' ', "+")))
        .reply(&stage.admin)
        .await;
    let cookie = header(&entered, "set-cookie").split(';').next().unwrap().to_owned();
    let page = request().path("/admin/settlement/").header("cookie", &cookie).reply(&stage.admin).await;
    let csrf =
        text(&page).split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (cookie, csrf)
}

fn multipart(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!(
            "--b7\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"r.csv\"\r\n\r\n{value}\r\n"
        )
    };
    fields.iter().map(part).collect::<String>() + "--b7--\r\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_takes_files_from_its_own_page_only() {
    let stage = stage().await;
    let order = stage.sold().await;
    let (cookie, csrf) = session(&stage).await;
    let day = stage.deps.now().to_string()[..10].to_owned();
    let file = format!("transaction;montant;devise;date\n{order};15000;XOF;{day} 00:00:00\n");
    let send = |body: String, media: &'static str| {
        let call = post("/admin/settlement/").header("cookie", &cookie).header("content-type", media);
        let call = call.body(body);
        async { call.reply(&stage.admin).await }
    };
    const MULTI: &str = "multipart/form-data; boundary=b7";
    let check = |answer: Http<Bytes>, status: u16, part: &str| {
        assert!(
            answer.status().as_u16() == status && text(&answer).contains(part),
            "{status} {part}: {}",
            text(&answer)
        );
    };
    check(send(multipart(&[("csrf", &csrf), ("file", &file)]), MULTI).await, 200, "Tout concorde");
    let pasted = form_urlencoded::Serializer::new(String::new())
        .append_pair("csrf", &csrf)
        .append_pair("pasted", &file)
        .finish();
    check(send(pasted, FORM).await, 200, "Tout concorde");
    let less = file.replace("15000", "14000");
    check(send(multipart(&[("csrf", &csrf), ("file", &less)]), MULTI).await, 200, "Montants différents : 1");
    let script = file.replace(&order.to_string(), "<script>alert(1)</script>");
    let shown = send(multipart(&[("csrf", &csrf), ("file", &script)]), MULTI).await;
    assert!(!text(&shown).contains("<script>"), "{}", text(&shown));
    check(shown, 200, "Chez nous, pas chez CinetPay : 1");
    // Without the page's proof, from nowhere or in a wrong shape: nothing is read.
    check(send(multipart(&[("file", &file)]), MULTI).await, 403, "session");
    check(send(multipart(&[("csrf", "0000"), ("file", &file)]), MULTI).await, 403, "session");
    check(send(file.clone(), "text/csv").await, 403, "session");
    check(send("--b7\r\nx".to_owned(), MULTI).await, 400, "illisible");
    check(send(multipart(&[("csrf", &csrf), ("file", "nom;prix\n1;2\n")]), MULTI).await, 400, "nom | prix");
    check(
        send(multipart(&[("csrf", &csrf), ("file", "transaction;montant\nX;5\n")]), MULTI).await,
        400,
        "indiquez la période",
    );
    check(send(multipart(&[("csrf", &csrf), ("file", "")]), MULTI).await, 400, "vide");
    check(send(multipart(&[("csrf", &csrf), ("file", "PK\u{3}\u{4}")]), MULTI).await, 400, "CSV");
    check(send(multipart(&[("csrf", &csrf), ("file", &"x".repeat(5 * 1024 * 1024))]), MULTI).await, 413, "");
    let bare = post("/admin/settlement/?from=2026-11-01&to=2026-11-02")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("accept", "application/json")
        .body("transaction;montant\nX;5\n");
    let report = bare.reply(&stage.admin).await;
    assert_eq!(
        (json(&report)["agrees"].as_bool(), &json(&report)["findings"]["theirs_not_ours"]["count"]),
        (Some(false), &1.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_and_proofs_of_orders_that_have_them() {
    let stage = stage().await;
    let (sold, waiting, refused) = (stage.sold().await, stage.bought().await, stage.refused("627").await);
    let get = |path: String, accept: &'static str| {
        let call =
            request().path(&path).header("authorization", format!("Bearer {TOKEN}")).header("accept", accept);
        async { call.reply(&stage.admin).await }
    };
    let letter = get(format!("/admin/orders/{refused}/dossier/"), "application/json").await;
    assert!(json(&letter)["body"].as_str().unwrap().contains("refusé (code 627)"), "{}", text(&letter));
    let plain = get(format!("/admin/orders/{refused}/dossier.txt"), "*/*").await;
    assert_eq!(header(&plain, "content-type"), "text/plain; charset=utf-8");
    assert!(text(&plain).starts_with("Objet : Client débité") && !text(&plain).contains("pay.example"));
    let page = get(format!("/admin/orders/{refused}/dossier/"), "text/html").await;
    assert!(
        text(&page).contains("support.marchands@cinetpay.com") && !text(&page).contains("awa@example.ci")
    );
    let proof = get(format!("/admin/orders/{sold}/proof.json"), "*/*").await;
    assert_eq!(header(&proof, "content-disposition"), format!("attachment; filename=\"preuve-{sold}.json\""));
    assert_eq!(
        (&json(&proof)["totals"]["kept"], &json(&proof)["signature"]),
        (&15_000.into(), &"ab".repeat(64).into())
    );
    let pages = get(format!("/admin/orders/{sold}/proof.pdf"), "*/*").await;
    assert_eq!(header(&pages, "content-type"), "application/pdf");
    assert_eq!(header(&pages, "content-disposition"), format!("attachment; filename=\"preuve-{sold}.pdf\""));
    let signed = format!("\"signature\": \"{}\"\n}}\n\nendstream", "ab".repeat(64));
    let inside = pages.body().windows(signed.len()).filter(|part| *part == signed.as_bytes()).count();
    assert!(pages.body().starts_with(b"%PDF-1.") && inside == 1, "{inside} signed files inside");
    let page = get(format!("/admin/orders/{sold}/proof/"), "text/html").await;
    assert!(text(&page).contains(&"ab".repeat(64)) && text(&page).contains("print"), "{}", text(&page));
    for none in [waiting, refused] {
        for path in ["proof.json", "proof.pdf", "proof/"] {
            assert_eq!(
                get(format!("/admin/orders/{none}/{path}"), "*/*").await.status(),
                StatusCode::CONFLICT
            );
        }
    }
    for path in ["dossier/", "dossier.txt", "proof/", "proof.json", "proof.pdf"] {
        let nowhere = OrderId::new(at("2026-11-10T00:00:00Z"), 9);
        assert_eq!(
            get(format!("/admin/orders/{nowhere}/{path}"), "*/*").await.status(),
            StatusCode::NOT_FOUND
        );
        let stranger = request().path(&format!("/admin/orders/{sold}/{path}")).reply(&stage.admin).await;
        assert!(stranger.status() == StatusCode::UNAUTHORIZED && !text(&stranger).contains("awa@"), "{path}");
    }
    assert_eq!(text(&get("/admin/proof-key.pem".to_owned(), "*/*").await), "PEM\n");
}

/// Whatever holds a buyer's data is kept by no cache, and no browser takes it for something else.
#[tokio::test]
async fn nothing_that_is_carried_away_is_cached() {
    let stage = stage().await;
    let sold = stage.sold().await;
    let days = "from=2020-01-01&to=2029-12-29";
    for path in [
        format!("/admin/exports/orders.csv?{days}"),
        format!("/admin/exports/orders.jsonl?{days}"),
        format!("/admin/orders/{sold}/dossier/"),
        format!("/admin/orders/{sold}/dossier.txt"),
        format!("/admin/orders/{sold}/proof/"),
        format!("/admin/orders/{sold}/proof.json"),
        format!("/admin/orders/{sold}/proof.pdf"),
        format!("/api/orders/{sold}"),
        "/api/orders?q=awa%40example.ci".to_owned(),
    ] {
        let answer = request().path(&path).header("authorization", format!("Bearer {TOKEN}"));
        let answer = answer.reply(&stage.admin).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
    }
}

/// Theirs is a stranger's text: shown, and never run.
#[tokio::test]
async fn an_export_of_cinetpay_writes_no_html() {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let stage = stage().await;
    let (cookie, csrf) = session(&stage).await;
    for file in [
        format!("transaction;montant;{EVIL}\n{EVIL};5;{EVIL}\n"),
        format!("transaction;montant\nX;{EVIL}\n"),
        format!("{EVIL};{EVIL}\n1;2\n"),
        format!("transaction {EVIL};montant {EVIL};devise;statut\nX;5;{EVIL};{EVIL}\n"),
    ] {
        let fields =
            [("csrf", csrf.as_str()), ("pasted", &file), ("from", "2026-11-01"), ("to", "2026-11-30")];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let call = post("/admin/settlement/").header("cookie", &cookie).header("accept", "text/html");
        let call = call.header("content-type", "application/x-www-form-urlencoded");
        let page = call.body(body).reply(&stage.admin).await;
        assert!(
            !text(&page).contains("<script>alert") && !text(&page).contains("<img src"),
            "{}",
            text(&page)
        );
        assert!(text(&page).contains("alert(1)"), "it was read, and is shown as text: {}", text(&page));
    }
}

/// Amounts are grouped as everywhere else; a program gets plain digits.
#[tokio::test]
async fn a_comparison_reads_well() {
    let stage = stage().await;
    let sold = stage.sold().await;
    let (cookie, csrf) = session(&stage).await;
    let file = format!("transaction;montant;devise\n{sold};14000;XOF\n");
    let fields = [("csrf", csrf.as_str()), ("pasted", &file), ("from", "2020-01-01"), ("to", "2029-12-29")];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let ask = async |accept: &'static str| {
        let call = post("/admin/settlement/").header("cookie", &cookie).header("accept", accept);
        let call = call.header("content-type", "application/x-www-form-urlencoded");
        call.body(body.clone()).reply(&stage.admin).await
    };
    let page = ask("text/html").await;
    let said = text(&page).replace('\u{202f}', " ");
    assert!(said.contains(">15 000 FCFA · Payée</td>"), "{said}");
    assert!(!said.contains("15000") && !said.contains("14000"), "{said}");
    let report = json(&ask("application/json").await);
    assert_eq!(report["findings"]["amounts"]["listed"][0]["theirs"], "14000 XOF");
}
