//! The mailbox seen from outside: SMTP, its pages, its faults.

use std::time::Duration;

use auditshield::simulator::mailbox::{Fault, Mailbox, Settings, Step};
use auditshield::simulator::{Options, start};
use lettre::{AsyncTransport, Message};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::simulator::http;

const PATIENCE: Duration = Duration::from_secs(10);

async fn mailbox() -> Mailbox {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Mailbox::start(listener, Settings { mails_max: 3, mail_bytes_max: 4_000 }).unwrap()
}

fn letter(subject: &str, body: &str) -> Message {
    let message = Message::builder()
        .from("Boutique <boutique@example.com>".parse().unwrap())
        .to("acheteur@example.com".parse().unwrap())
        .subject(subject)
        .message_id(Some("<1@example.com>".to_owned()));
    let parts = lettre::message::MultiPart::alternative_plain_html(body.to_owned(), format!("<p>{body}</p>"));
    message.multipart(parts).unwrap()
}

fn sender(mailbox: &Mailbox) -> lettre::AsyncSmtpTransport<lettre::Tokio1Executor> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    lettre::AsyncSmtpTransport::<lettre::Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(mailbox.addr().port())
        .credentials(lettre::transport::smtp::authentication::Credentials::new("a".into(), "b".into()))
        .timeout(Some(PATIENCE))
        .build()
}

#[tokio::test]
async fn mails_arrive_are_bounded_and_readable() {
    let mailbox = mailbox().await;
    let smtp = sender(&mailbox);
    for n in 0..4 {
        smtp.send(letter(&format!("Votre achat n° {n}"), "été\n.point\nhttps://example.com/d/x"))
            .await
            .unwrap();
    }
    let mails = mailbox.wait_for(3, PATIENCE).await;
    assert_eq!(mails.iter().map(|mail| mail.number).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(mails[0].to, ["acheteur@example.com"]);
    assert!(smtp.send(letter("trop", &"x".repeat(5_000))).await.unwrap_err().is_permanent());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { mailbox: Some(mailbox.clone()), ..Options::default() };
    let sim = start(listener, options).await.unwrap();
    let fetch = async |path: &str| {
        let reply = http().get(format!("{}{path}", sim.base_url())).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{path}");
        reply.text().await.unwrap()
    };
    let list: Value = serde_json::from_str(&fetch("/control/mails").await).unwrap();
    let last = &list["mails"][2];
    assert_eq!(
        (&last["subject"], &last["message_id"]),
        (&json!("Votre achat n° 3"), &json!("<1@example.com>"))
    );
    assert_eq!(last["text"].as_str().unwrap().trim_end(), "été\n.point\nhttps://example.com/d/x");
    assert!(last["html"].as_str().unwrap().starts_with("<p>été"));
    assert!(fetch("/mailbox/").await.contains("Votre achat n° 3"));
    assert!(fetch("/mailbox/4").await.contains("<a href=\"https://example.com/d/x\">"));
    assert!(fetch("/mailbox/4/html").await.contains("<p>été"));
    sim.stop().await;
    mailbox.stop();
}

#[tokio::test]
async fn the_mailbox_fails_where_it_is_told() {
    let mailbox = mailbox().await;
    for step in [Step::Connect, Step::Ehlo, Step::Auth, Step::Mail, Step::Rcpt, Step::Data, Step::Dot] {
        for (code, permanent) in [(421, false), (450, false), (451, false), (550, true), (552, true)] {
            mailbox.set_fault(Some(Fault::reply(step, code)));
            let error = sender(&mailbox).send(letter("a", "b")).await.unwrap_err();
            assert_eq!(error.is_permanent(), permanent, "{step:?} {code} {error}");
        }
        mailbox.set_fault(Some(Fault::dropped(step)));
        let error = sender(&mailbox).send(letter("a", "b")).await.unwrap_err();
        assert!(!error.is_permanent(), "{step:?} dropped: {error}");
    }
    assert_eq!(mailbox.messages().len(), 0);
    mailbox.set_fault(Some(Fault { keep: true, times: Some(1), ..Fault::dropped(Step::Dot) }));
    let smtp = sender(&mailbox);
    assert!(smtp.send(letter("a", "b")).await.is_err());
    assert_eq!(mailbox.messages().len(), 1, "kept although the sender saw a failure");
    smtp.send(letter("a", "b")).await.unwrap();
    assert_eq!(mailbox.messages().len(), 2);
    mailbox.stop();
}

#[tokio::test]
async fn a_fault_ends_after_its_time() {
    let mailbox = mailbox().await;
    mailbox.set_fault(Some(Fault { for_ms: Some(0), ..Fault::reply(Step::Mail, 550) }));
    sender(&mailbox).send(letter("a", "b")).await.unwrap();
    mailbox.set_fault(Some(Fault { latency_ms: 5, code: None, ..Fault::reply(Step::Dot, 0) }));
    sender(&mailbox).send(letter("a", "b")).await.unwrap();
    assert_eq!(mailbox.messages().len(), 2, "latency alone loses nothing");
    mailbox.stop();
}

#[tokio::test]
async fn the_conversation_follows_the_protocol() {
    let mailbox = mailbox().await;
    let mut stream = TcpStream::connect(mailbox.addr()).await.unwrap();
    let said = "HELO me\r\nDATA\r\nMAIL FROM:<a@b.ci>\r\nRCPT TO:<>\r\nRCPT TO:<c@d.ci>\r\nRSET\r\nDATA\r\nNOOP\r\n\
                AUTH PLAIN\r\nAGEAYg==\r\nAUTH DIGEST\r\nBLAH\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.ci>\r\nRCPT TO:<e@f.ci>\r\n\
                DATA\r\nSubject: s\r\n\r\n..dot\r\n.x\r\n.\r\nQUIT\r\n";
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut heard = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
    let codes: Vec<&str> = heard.lines().map(|line| line.get(..3).unwrap_or(line)).collect();
    let expected = "220 250 503 250 501 250 250 503 250 334 235 504 502 250 250 250 354 250 221";
    assert_eq!(codes.join(" "), expected);
    let mail = mailbox.messages().remove(0);
    assert_eq!((mail.from.as_str(), mail.to.len()), ("", 2));
    assert_eq!(mail.raw, b"Subject: s\r\n\r\n.dot\r\nx\r\n");
    mailbox.stop();
}
