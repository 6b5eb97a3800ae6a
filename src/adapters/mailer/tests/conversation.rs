//! The conversation with a mail server, through every fault of it.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::simulator::mailbox::{Fault, Mailbox, Settings as MailboxSettings, Step};

/// Long enough for a local conversation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

async fn mailbox() -> Mailbox {
    mailbox_at("127.0.0.1:0").await
}

async fn mailbox_at(address: &str) -> Mailbox {
    let listener = TcpListener::bind(address).await.unwrap();
    Mailbox::start(listener, MailboxSettings::default()).unwrap()
}

fn over_smtp(port: u16) -> Settings {
    settings(Route::Smtp(server(port)))
}

fn server(port: u16) -> SmtpServer {
    let login = Some(("user".to_owned(), "password".to_owned()));
    SmtpServer { host: "127.0.0.1".to_owned(), port, tls: Tls::Opportunistic, login, authorities: None }
}

fn to_mailbox(mailbox: &Mailbox) -> Postman {
    postman(over_smtp(mailbox.addr().port()))
}

async fn send(postman: &Postman) -> Posted {
    postman.send(letter(Lang::Fr)).await
}

fn refused(reason: &str) -> Posted {
    Posted::Refused { reason: reason.to_owned() }
}

fn unavailable(reason: &str) -> Posted {
    Posted::Unavailable { reason: reason.to_owned() }
}

#[tokio::test]
async fn a_mail_arrives_as_written() {
    let mailbox = mailbox().await;
    assert_eq!(send(&to_mailbox(&mailbox)).await, Posted::Accepted);
    let mails = mailbox.wait_for(1, PATIENCE).await;
    let [mail] = &mails[..] else { panic!("{} mails", mails.len()) };
    assert_eq!(
        (mail.from.as_str(), &mail.to[..]),
        ("ventes@boutique.ci", &["awa@example.ci".to_owned()][..])
    );
    let raw = String::from_utf8(mail.raw.clone()).unwrap();
    assert_eq!(raw.trim_end(), written_plainly(letter(Lang::Fr)).await.trim_end());
}

#[tokio::test]
async fn what_cannot_be_delivered_comes_back_to_the_envelope_s_sender() {
    let mailbox = mailbox().await;
    let bounce_to = Some(Email::parse("retours@boutique.ci").unwrap());
    let postman = postman(Settings { bounce_to, ..over_smtp(mailbox.addr().port()) });
    assert_eq!(send(&postman).await, Posted::Accepted);
    let mails = mailbox.wait_for(1, PATIENCE).await;
    assert_eq!(mails[0].from, "retours@boutique.ci");
    let raw = String::from_utf8(mails[0].raw.clone()).unwrap();
    assert!(!raw.contains("retours@") && headers(&raw).contains("ventes@boutique.ci"), "{raw}");
}

/// The second server gets a mail only where the first has surely not taken it, and has nothing against the mail.
#[tokio::test]
async fn the_second_server_stands_in() {
    let refusal = |step, code| Fault::reply(step, code);
    let silence = |step| Fault { drop: false, latency_ms: 900, ..Fault::dropped(step) };
    let cases = [
        (refusal(Step::Connect, 421), Posted::Accepted, (0, 2)),
        (refusal(Step::Auth, 535), Posted::Accepted, (0, 2)),
        (refusal(Step::Mail, 550), Posted::Accepted, (0, 2)),
        (Fault::dropped(Step::Rcpt), Posted::Accepted, (0, 2)),
        (Fault::dropped(Step::Data), Posted::Accepted, (0, 2)),
        (silence(Step::Connect), Posted::Accepted, (0, 2)),
        (silence(Step::Rcpt), Posted::Accepted, (0, 2)),
        (refusal(Step::Rcpt, 550), refused("550 5.0.0"), (1, 0)),
        (refusal(Step::Rcpt, 451), unavailable("451 4.0.0"), (1, 0)),
        (refusal(Step::Dot, 552), refused("552 5.0.0"), (1, 0)),
        (Fault::dropped(Step::Dot), unavailable("NETWORK"), (1, 0)),
        // Taken, as it turns out: at the second server it would have been one mail more.
        (silence(Step::Dot), unavailable("TIMEOUT"), (2, 0)),
    ];
    for (fault, want, taken) in cases {
        let (first, second) = (mailbox().await, mailbox().await);
        let timeout = Duration::from_millis(400);
        let fallback = Some(server(second.addr().port()));
        let postman = postman(Settings { fallback, timeout, ..over_smtp(first.addr().port()) });
        let named = format!("{fault:?}");
        first.set_fault(Some(fault));
        assert_eq!(send(&postman).await, want, "{named}");
        first.set_fault(None);
        assert_eq!(send(&postman).await, Posted::Accepted, "{named}");
        // A server that could not be reached is left alone for a while; one that answered is asked again.
        first.wait_for(taken.0, PATIENCE).await;
        assert_eq!((first.messages().len(), second.messages().len()), taken, "{named}");
    }
}

#[tokio::test]
async fn no_server_at_all_says_what_both_said() {
    let second = mailbox().await;
    second.set_fault(Some(Fault::reply(Step::Mail, 451)));
    let postman = postman(Settings { fallback: Some(server(second.addr().port())), ..over_smtp(1) });
    assert_eq!(send(&postman).await, unavailable("NETWORK, 451 4.0.0"));
    assert_eq!(postman.greet().await, Err("NETWORK".to_owned()));
    assert_eq!(postman.greet_fallback().await, Some(Ok(())));
}

#[tokio::test]
async fn mails_of_an_hour_run_out() {
    let postman = postman(Settings { per_hour: 8, ..over_smtp(1) });
    for free in [true, true, false, false] {
        assert_eq!(postman.reserve(true).await, free);
    }
    assert!(postman_without_cap().reserve(false).await);
}

fn postman_without_cap() -> Postman {
    postman(over_smtp(1))
}

#[tokio::test]
async fn every_answer_at_every_step() {
    let mailbox = mailbox().await;
    let early = [Step::Connect, Step::Ehlo, Step::Auth, Step::Mail];
    let late = [Step::Rcpt, Step::Data, Step::Dot];
    for step in early.into_iter().chain(late) {
        for code in [421_u16, 450, 451, 452, 530, 535, 550, 552, 554] {
            mailbox.set_fault(Some(Fault::reply(step, code)));
            let reason = format!("{code} {}.0.0", code / 100);
            let for_good = late.contains(&step) && matches!(code, 550 | 552 | 554);
            let want = if for_good { refused(&reason) } else { unavailable(&reason) };
            assert_eq!(send(&to_mailbox(&mailbox)).await, want, "{code} at {step:?}");
        }
    }
    assert_eq!(mailbox.messages().len(), 0);
}

#[tokio::test]
async fn a_connection_lost_at_any_step_is_no_verdict() {
    let mailbox = mailbox().await;
    for step in [Step::Connect, Step::Ehlo, Step::Auth, Step::Mail, Step::Rcpt, Step::Data, Step::Dot] {
        mailbox.set_fault(Some(Fault::dropped(step)));
        assert_eq!(send(&to_mailbox(&mailbox)).await, unavailable("NETWORK"), "{step:?}");
    }
}

#[tokio::test]
async fn a_mail_taken_in_silence_is_repeated_identically() {
    let mailbox = mailbox().await;
    let postman = to_mailbox(&mailbox);
    // Over a kept connection too, where every earlier loss is made good at once.
    assert_eq!(send(&postman).await, Posted::Accepted);
    mailbox.set_fault(Some(Fault { keep: true, times: Some(1), ..Fault::dropped(Step::Dot) }));
    assert_eq!(send(&postman).await, unavailable("NETWORK"));
    assert_eq!(mailbox.messages().len(), 2, "an unknown fate is not tried again at once");
    assert_eq!(send(&postman).await, Posted::Accepted);
    let mails = mailbox.messages();
    assert_eq!(mails.len(), 3);
    assert!(mails.iter().all(|mail| mail.raw == mails[0].raw));
}

#[tokio::test]
async fn connections_are_kept() {
    let mailbox = mailbox().await;
    let postman = to_mailbox(&mailbox);
    assert_eq!(send(&postman).await, Posted::Accepted);
    mailbox.set_fault(Some(Fault::dropped(Step::Connect)));
    assert_eq!(send(&postman).await, Posted::Accepted);
    // A refused mail does not end the connection either.
    mailbox.set_fault(Some(Fault { times: Some(1), ..Fault::reply(Step::Rcpt, 550) }));
    assert_eq!(send(&postman).await, refused("550 5.0.0"));
    mailbox.set_fault(Some(Fault::dropped(Step::Connect)));
    assert_eq!(send(&postman).await, Posted::Accepted);
    assert_eq!(mailbox.messages().len(), 3);
}

#[tokio::test]
async fn a_kept_connection_that_ends_costs_no_mail() {
    let mailbox = mailbox().await;
    let postman = to_mailbox(&mailbox);
    assert_eq!(send(&postman).await, Posted::Accepted);
    for step in [Step::Mail, Step::Rcpt, Step::Data] {
        for fault in [Fault::dropped(step), Fault::reply(step, 421)] {
            mailbox.set_fault(Some(Fault { times: Some(1), ..fault }));
            assert_eq!(send(&postman).await, Posted::Accepted, "{step:?}");
            assert_eq!(mailbox.fault().unwrap().times, Some(0), "the fault must have struck");
        }
    }
    assert_eq!(mailbox.messages().len(), 7);
}

#[tokio::test]
async fn a_server_goes_and_comes_back() {
    let first = mailbox().await;
    let address = first.addr().to_string();
    let postman = to_mailbox(&first);
    assert_eq!(send(&postman).await, Posted::Accepted);
    // Restarted: the kept connection is dead, the mail arrives all the same.
    first.stop();
    let second = restarted(&address).await;
    assert_eq!(send(&postman).await, Posted::Accepted);
    assert_eq!(second.messages().len(), 1);
    // Down, then up.
    second.stop();
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(send(&postman).await, unavailable("NETWORK"));
    let third = restarted(&address).await;
    assert_eq!(send(&postman).await, Posted::Accepted);
    assert_eq!(third.messages().len(), 1);
}

/// Binds again as soon as the old listener is gone.
async fn restarted(address: &str) -> Mailbox {
    for _ in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Mailbox::start(listener, MailboxSettings::default()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} stays taken");
}

#[tokio::test]
async fn a_conversation_given_up_is_not_taken_for_the_next_mail_s() {
    let mailbox = mailbox().await;
    let mut settings = over_smtp(mailbox.addr().port());
    settings.timeout = Duration::from_millis(400);
    let postman = postman(settings);
    assert_eq!(send(&postman).await, Posted::Accepted);
    for step in [Step::Mail, Step::Rcpt, Step::Data, Step::Dot] {
        mailbox.set_fault(Some(Fault {
            drop: false,
            latency_ms: 900,
            times: Some(1),
            ..Fault::dropped(step)
        }));
        assert_eq!(send(&postman).await, unavailable("TIMEOUT"), "{step:?}");
        // On a recycled connection the late answer to the last mail would be read as this one's.
        mailbox.set_fault(Some(Fault::reply(Step::Dot, 550)));
        assert_eq!(send(&postman).await, refused("550 5.0.0"), "{step:?}");
    }
}

#[tokio::test]
async fn many_mails_over_few_connections() {
    let mailbox = mailbox().await;
    let postman = to_mailbox(&mailbox);
    let postman = Arc::new(postman);
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..120 {
        let postman = Arc::clone(&postman);
        sending.spawn(async move { send(&postman).await });
    }
    while let Some(posted) = sending.join_next().await {
        assert_eq!(posted.unwrap(), Posted::Accepted);
    }
    assert_eq!(mailbox.messages().len(), 120);
}

/// A server that answers RCPT with `answer`.
async fn server_refusing_with(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 x ESMTP\r\n").await.unwrap();
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            let reply = match line.split([' ', '\r']).next() {
                Some("EHLO") => "250-x\r\n250 AUTH PLAIN",
                Some("AUTH") => "235 ok",
                Some("RCPT") => answer,
                _ => "250 ok",
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            line.clear();
        }
    });
    port
}

#[tokio::test]
async fn a_reason_is_a_code_and_never_the_server_s_words() {
    let check = async |answer, want: Posted| {
        let port = server_refusing_with(answer).await;
        assert_eq!(send(&postman(over_smtp(port))).await, want, "{answer}");
    };
    check("550 5.1.1 <awa@example.ci>: unknown", refused("550 5.1.1")).await;
    check("550 awa@example.ci unknown", refused("550")).await;
    check("550-5.7.1 first line\r\n550 5.7.1 awa@example.ci", refused("550 5.7.1")).await;
    check("550 5.1.awa@example.ci", refused("550")).await;
    check("451 4.7.1 Greylisted awa@example.ci", unavailable("451 4.7.1")).await;
    check("nonsense awa@example.ci", unavailable("NETWORK")).await;
}

#[tokio::test]
async fn no_tls_no_mail_where_it_is_required() {
    let mailbox = mailbox().await;
    let mut settings = over_smtp(mailbox.addr().port());
    if let Route::Smtp(server) = &mut settings.route {
        server.tls = Tls::Required;
    }
    assert_eq!(send(&postman(settings)).await, unavailable("UNSUPPORTED"));
    assert_eq!(mailbox.messages().len(), 0);
}

#[tokio::test]
async fn a_server_without_tls_where_tls_comes_first_is_no_verdict() {
    let mailbox = mailbox().await;
    let mut settings = over_smtp(mailbox.addr().port());
    settings.timeout = Duration::from_secs(2);
    if let Route::Smtp(server) = &mut settings.route {
        server.tls = Tls::Implicit;
    }
    let posted = send(&postman(settings)).await;
    assert!(matches!(posted, Posted::Unavailable { .. }), "{posted:?}");
}

#[tokio::test]
async fn a_password_is_not_sent_in_clear_to_another_machine() {
    assert!(smtp::is_this_machine("127.0.0.1") && smtp::is_this_machine("::1"));
    assert!(smtp::is_this_machine("LOCALHOST"));
    for other in ["localhost.evil.ci", "10.0.0.1", "mail.boutique.ci", ""] {
        assert!(!smtp::is_this_machine(other), "{other}");
    }
    // 0.0.0.0 reaches this machine, but is not one of its names: good enough to stand for another one.
    let mailbox = mailbox().await;
    let mut settings = over_smtp(mailbox.addr().port());
    if let Route::Smtp(server) = &mut settings.route {
        server.host = "0.0.0.0".to_owned();
    }
    assert_eq!(send(&postman(settings.clone())).await, unavailable("NO_TLS"));
    if let Route::Smtp(server) = &mut settings.route {
        server.login = None;
    }
    assert_eq!(send(&postman(settings)).await, Posted::Accepted);
}
