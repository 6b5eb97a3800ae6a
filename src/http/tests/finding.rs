//! The purchase page's help, the remembered language, and purchases found again.

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const REQUEST: &str = "request=0123456789abcdef0123456789abcdef";

async fn send(stage: &Stage, path: &str, body: &str) -> Http<Bytes> {
    let form = post(path).header("accept", "text/html").header(FORM.0, FORM.1);
    form.body(body).reply(&stage.public).await
}

async fn orders(stage: &Stage) -> usize {
    json(&stage.api("GET", "/api/orders", "").await)["orders"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_slip_is_asked_about_and_stops_nobody() {
    let stage = stage().await;
    let path = "/buy/audit-kit/standard/";
    let asked = send(&stage, path, &format!("{REQUEST}&email=awa%40gmial.com&name=Awa")).await;
    assert_eq!(asked.status(), StatusCode::OK);
    for part in
        ["name=\"use\" value=\"awa@gmail.com\"", "name=\"checked\" value=\"awa@gmial.com\"", "value=\"Awa\""]
    {
        assert!(text(&asked).contains(part), "{part}: {}", text(&asked));
    }
    assert_eq!(orders(&stage).await, 0);
    let check = async |body: &str, email: &str| {
        let went = send(&stage, path, body).await;
        assert_eq!(went.status(), StatusCode::SEE_OTHER, "{body}: {}", text(&went));
        let id = header(&went, "location").rsplit('/').next().unwrap().to_owned();
        let payment = stage.deps.load(OrderId::parse(&id).unwrap()).unwrap().unwrap();
        assert_eq!(payment.buyer.email.expose(), email, "{body}");
    };
    let seen = format!("{REQUEST}&checked=awa%40gmial.com");
    check(&format!("{seen}&email=awa%40gmial.com"), "awa@gmial.com").await;
    check(&format!("{seen}&email=awa%40gmial.com&use=awa%40gmail.com"), "awa@gmail.com").await;
    // The enter key presses the first button; what was typed since then is what is meant.
    check(&format!("{seen}&email=aya%40example.ci&use=awa%40gmail.com"), "aya@example.ci").await;
    // Other shops' forms and programs are never asked back.
    check("email=awa%40gmial.com", "awa@gmial.com").await;
    let answer = buy("awa@gmial.com").reply(&stage.public).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_form_sent_twice_is_one_order_and_goes_on_after_a_refusal() {
    let stage = stage().await;
    let path = "/buy/audit-kit/standard/";
    let body = format!("{REQUEST}&email=awa%40example.ci");
    let (one, two) = tokio::join!(send(&stage, path, &body), send(&stage, path, &body));
    assert_eq!(header(&one, "location"), header(&two, "location"));
    assert_eq!(orders(&stage).await, 1);
    let order = OrderId::parse(header(&one, "location").rsplit('/').next().unwrap()).unwrap();
    let first = TransactionId { order, attempt: Attempt::FIRST };
    stage.world.refused.lock().unwrap().insert(first, "627");
    stage.deps.orders.submit(order, crate::domain::input::Input::Verify).await.unwrap();
    let again = send(&stage, path, &body).await;
    assert_eq!(header(&again, "location"), format!("https://pay.example/{order}R2"));
    assert_eq!(orders(&stage).await, 1);
    // Whoever goes back to the page and buys once more has the same form.
    let page = stage.get(path).await;
    let visit = header(&page, "set-cookie").split(';').next().unwrap().to_owned();
    let back = request().path(path).header("accept", "text/html").header("cookie", &visit);
    let back = back.reply(&stage.public).await;
    let number = visit.strip_prefix("visite=").unwrap();
    assert!(text(&back).contains(&format!("name=\"request\" value=\"{number}\"")), "{}", text(&back));
    assert_eq!(header(&back, "set-cookie"), "");
    // With other data it is another purchase.
    send(&stage, path, &format!("{REQUEST}&email=aya%40example.ci")).await;
    assert_eq!(orders(&stage).await, 2);
}

#[tokio::test]
async fn the_language_is_chosen_once() {
    let stage = stage().await;
    let check = async |path: &str, cookie: &str, accept: &str, want: &str| {
        let page = request().path(path).header("accept", "text/html").header("accept-language", accept);
        let page = page.header("cookie", cookie).reply(&stage.public).await;
        assert!(text(&page).contains(&format!("<html lang=\"{want}\">")), "{path} {cookie} {accept}");
        let kept = page.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        kept.filter(|value| value.starts_with("lang=")).collect::<String>()
    };
    let kept = check("/?lang=en", "", "fr-FR", "en").await;
    assert_eq!(kept, "lang=en; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    for path in ["/", "/buy/audit-kit/standard/", "/achats/", "/nowhere", "/payment/return/", "/download/x/"]
    {
        assert_eq!(check(path, "lang=en", "fr-FR", "en").await, "", "{path}");
        check(path, "", "en-GB,en;q=0.9,fr;q=0.8", "en").await;
        check(path, "", "de", "fr").await;
        check(path, "lang=xx", "", "fr").await;
    }
    check("/?lang=fr", "lang=en", "en", "fr").await;
}

#[tokio::test]
async fn the_purchase_page_shows_description_and_picture() {
    let stage = stage().await;
    let page = stage.get("/buy/audit-kit/standard/").await;
    assert!(text(&page).contains("<p>Un <em>kit</em>.</p>"), "{}", text(&page));
    let picture = text(&page).split('"').find(|part| part.starts_with("/pictures/")).unwrap().to_owned();
    let got = stage.get(&picture).await;
    assert_eq!(header(&got, "content-type"), "image/jpeg");
    assert_eq!(header(&got, "x-content-type-options"), "nosniff");
    assert!(header(&got, "cache-control").contains("immutable"));
    for path in ["/pictures/nothing", "/pictures/..%2f..%2fetc%2fpasswd", "/pictures/"] {
        assert_eq!(stage.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let front = stage.get("/").await;
    assert!(text(&front).contains("<p>Un kit.</p>"), "{}", text(&front));
}

/// Known or not, in whatever case: the same page, and never before the time that all of them take.
#[tokio::test]
async fn finding_purchases_answers_everybody_alike() {
    let stage = stage().await;
    stage.sold().await;
    let mut pages = HashSet::new();
    for email in ["awa%40example.ci", "AWA%40example.ci", "nobody%40example.ci"] {
        let since = std::time::Instant::now();
        let answer = send(&stage, "/achats/", &format!("email={email}")).await;
        let least = std::time::Duration::from_millis(recover::ANSWER_MILLIS);
        assert!(answer.status() == StatusCode::OK && since.elapsed() >= least, "{email}");
        assert!(!text(&answer).contains("example.ci"), "{}", text(&answer));
        pages.insert(text(&answer).to_owned());
    }
    assert_eq!(pages.len(), 1, "{pages:?}");
    let wrong = send(&stage, "/achats/", "email=nothing").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}
