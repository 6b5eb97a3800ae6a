//! What is written about orders: rows, letters, proofs, and the comparison with CinetPay's export.

use std::collections::HashMap;

use super::*;
use crate::domain::calendar::{Period, Zone};
use crate::domain::dossier::Case;
use crate::domain::evidence::Entry;
use crate::domain::merchant::Merchant;
use crate::domain::proof::{Material, Totals, sealed};
use crate::domain::settlement::{Kind, Reason, Report as Compared, Settlement, Statement};
use crate::domain::sheet::{self, Row};

fn zone(text: &str) -> Zone {
    text.parse().unwrap()
}

/// The order after these inputs, half a minute apart.
fn told(words: &[&str]) -> Tale {
    let mut tale = Tale::new();
    for word in words {
        tale.tell(&input(word));
        tale.later(Duration::from_secs(30));
    }
    tale
}

/// The tale's events as journal lines; the hashes are only told apart.
fn entries(tale: &Tale) -> Vec<Entry> {
    let line = |(at, event): (usize, &Event)| Entry {
        seq: at as u64 + 7,
        at: START.plus(Duration::from_secs(30 * at as u64)),
        version: u32::try_from(at).unwrap() + 1,
        events: vec![event.clone()],
        text: serde_json::to_string(event).unwrap(),
        hash: format!("{at:064x}"),
    };
    tale.history.iter().enumerate().map(line).collect()
}

fn letter(words: &[&str], phone: Option<&str>) -> String {
    let mut tale = told(words);
    let payment = tale.payment.as_mut().unwrap();
    payment.buyer.phone = phone.map(|text| crate::domain::values::Phone::parse(text).unwrap());
    let merchant = Merchant { name: "Boutique d’Élodie".to_owned(), ..Merchant::default() };
    let lines = entries(&tale);
    let payment = tale.payment.as_ref().unwrap();
    let case = Case {
        payment,
        entries: &lines,
        site_id: "445160",
        merchant: &merchant,
        zone: zone("+01:00"),
        now: tale.now,
    };
    case.write().text().replace('\u{a0}', " ")
}

#[test]
fn the_letter_names_everything_and_nothing_secret() {
    let text = letter(
        &["buy", "opened", "notify", "refused", "openedAgain", "notify2", "refused"],
        Some("0707070707"),
    );
    let id = told(&["buy"]).id.to_string();
    for part in [
        &id,
        &format!("{id}R2"),
        "445160",
        "15\u{202f}000\u{202f}FCFA (15000 XOF)",
        "0707••••07",
        "2027-01-15 08:00:00 UTC (2027-01-15 09:00:00 heure locale)",
        "notre heure locale est UTC+01:00",
        "empreinte 01010101",
        "réponse refusée, code 627",
        "refusé (code 627)",
        "Boutique d’Élodie",
        &format!("{:064x}", 0),
        "ligne 7, 2027-01-15T08:00:00.000Z, CREATED",
        "Objet : Client débité, paiement non abouti : transaction",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    for secret in ["awa@example.ci", "https://", "\"t\"", "t2", "0707070707"] {
        assert!(!text.contains(secret), "{secret} in:\n{text}");
    }
}

/// Each status has its own sentence; lists that are empty say so.
#[test]
fn the_letter_fits_every_status() {
    let check = |words: &[&str], part: &str| {
        let text = letter(words, None);
        assert!(
            text.contains(part) && text.contains("non communiqué à notre boutique"),
            "{part} in:\n{text}"
        );
    };
    check(&["buy"], "Aucune page de paiement n’a été confirmée");
    check(&["buy", "notOpened"], "non ouverte (réponse : 624)");
    check(&["buy", "timedOut"], "réponse incertaine");
    check(&["buy", "opened"], "encore que le paiement est en attente");
    check(&["buy", "opened"], "Notifications reçues (signature x-token vérifiée)\naucune\n");
    check(&["buy", "opened", "mismatch"], "montant annoncé 100, devise XOF");
    check(&["buy", "opened", "mismatch", "approve"], "payée, approuvée par une personne");
    check(&["buy", "opened", "accepted"], "signale un débit de plus");
    check(&["buy", "opened", "accepted"], "Orange Money (OM)");
    check(&["buy", "opened", "accepted", "refund"], "remboursement noté");
}

#[test]
fn rows_as_a_spreadsheet_gets_them() {
    let tale = told(&["buy", "opened", "accepted"]);
    let mut payment = tale.payment.clone().unwrap();
    payment.buyer.name = Some(crate::domain::values::Name::parse("=1+1; \"Awa\"").unwrap());
    let mut out = String::new();
    sheet::write_headings(&mut out, Lang::Fr, zone("+01:00"));
    Row::of(&payment, zone("+01:00")).write_csv(&mut out);
    let lines: Vec<&str> = out.split("\r\n").collect();
    assert!(lines[0].starts_with("\u{feff}commande;transaction;statut;"), "{out}");
    assert!(
        lines[0].contains("créée (UTC);\"créée (local, UTC+01:00)\"")
            || lines[0].contains("créée (local, UTC+01:00)"),
        "{out}"
    );
    let id = payment.id;
    assert_eq!(
        lines[1],
        format!(
            "{id};{id};PAID;audit-kit;standard;15000;XOF;2027-01-15T08:00:00.000Z;2027-01-15 09:00:00;2027-01-15T08:01:00.000Z;\
             2027-01-15 09:01:00;MP1;OM;Orange Money;awa@example.ci;\"'=1+1; \"\"Awa\"\"\";;owed;;0"
        )
    );
    assert_eq!(lines[2..], [""]);
    let json = serde_json::to_value(Row::of(&payment, Zone::UTC)).unwrap();
    assert_eq!(
        (&json["amount"], &json["name"], &json["delivered_at"]),
        (&15_000.into(), &"=1+1; \"Awa\"".into(), &serde_json::Value::Null)
    );
    let english = {
        let mut out = String::new();
        sheet::write_headings(&mut out, Lang::En, Zone::UTC);
        out
    };
    assert!(english.starts_with("\u{feff}order;transaction;status;"), "{english}");
}

#[test]
fn only_a_sale_is_proved_and_its_bytes_are_signed() {
    let merchant = Merchant::default();
    let statement = |words: &[&str]| {
        let tale = told(words);
        let lines = entries(&tale);
        let material = Material {
            payment: tale.payment.as_ref().unwrap(),
            entries: &lines,
            site_id: "445160",
            merchant: &merchant,
            zone: Zone::UTC,
            now: tale.now,
            public_key: "KEY",
        };
        material.statement().map(|one| serde_json::to_string_pretty(&one).unwrap())
    };
    for waiting in
        [&["buy"][..], &["buy", "opened"], &["buy", "opened", "refused"], &["buy", "opened", "mismatch"]]
    {
        assert_eq!(statement(waiting), None);
    }
    let json = statement(&["buy", "opened", "accepted"]).unwrap();
    let mut signed = String::new();
    let text = sealed(&json, |bytes| {
        signed = String::from_utf8(bytes.to_vec()).unwrap();
        "ab".repeat(64)
    });
    assert_eq!(text, format!("{signed},\n  \"signature\": \"{}\"\n}}\n", "ab".repeat(64)));
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&read["format"], &read["order"]["status"]), (&"auditshield-proof-1".into(), &"PAID".into()));
    assert_eq!(read["lines"].as_array().unwrap().len(), told(&["buy", "opened", "accepted"]).history.len());
    let totals = |words: &[&str]| {
        Totals::of(told(words).payment.as_ref().unwrap()).map(|one| (one.paid, one.refunded, one.kept))
    };
    assert_eq!(totals(&["buy", "opened", "accepted"]), Some((15_000, 0, 15_000)));
    assert_eq!(totals(&["buy", "opened", "accepted", "refund"]), Some((15_000, 15_000, 0)));
}

/// Compares an export with the one order of the tale; `ID` stands for its number.
fn compared(tale: &Tale, export: &str) -> Compared {
    let payment = tale.payment.as_ref().unwrap();
    let text = export.replace("ID", &payment.id.to_string());
    let statement = Statement::read(text.as_bytes(), Zone::UTC).unwrap();
    let day = Zone::UTC.day(START);
    let period = Period::new(day.plus(-5), day.plus(5), Zone::UTC);
    let mut settlement = Settlement::new(statement, period, Zone::UTC).unwrap();
    let known = HashMap::from([(payment.id, payment)]);
    for transaction in settlement.transactions() {
        settlement.theirs(transaction, known.get(&transaction.order).copied());
    }
    settlement.ours(payment);
    settlement.finish()
}

#[test]
fn every_difference_has_its_list() {
    let check = |words: &[&str], rows: &str, want: &[(Kind, Reason)], agreed: u64| {
        let report = compared(&told(words), &format!("transaction;montant;devise;statut\n{rows}"));
        let found: Vec<(Kind, Reason)> = report
            .findings
            .iter()
            .flat_map(|(kind, found)| found.listed.iter().map(|one| (*kind, one.reason)))
            .collect();
        assert_eq!((found.as_slice(), report.agreed), (want, agreed), "{words:?} {rows}");
        assert_eq!(report.agrees, want.is_empty());
    };
    let paid: &[&str] = &["buy", "opened", "accepted"];
    check(paid, "ID;15000;XOF;ACCEPTED\n", &[], 1);
    check(paid, "ID;15 000,00;FCFA;Succès\n", &[], 1);
    check(paid, "ID;15000;;ACCEPTED\n", &[], 1);
    check(paid, "ID;15000;XOF;PENDING\nID;15000;XOF;ACCEPTED\n", &[], 1);
    check(&["buy", "opened", "accepted", "refund"], "ID;15000;XOF;ACCEPTED\n", &[], 1);
    check(&["buy", "opened", "refused"], "ID;15000;XOF;REFUSED\n", &[], 0);
    check(&["buy", "opened"], "ID;15000;XOF;EN ATTENTE\n", &[], 0);
    check(paid, "AUTRE;500;XOF;REFUSED\nID;15000;XOF;ACCEPTED\n", &[], 1);
    check(paid, "ID;14000;XOF;ACCEPTED\n", &[(Kind::Amounts, Reason::Amount)], 0);
    check(paid, "ID;15000;XAF;ACCEPTED\n", &[(Kind::Amounts, Reason::Currency)], 0);
    check(paid, "ID;15000;XOF;REFUSED\n", &[(Kind::Statuses, Reason::RefusedThere)], 0);
    check(paid, "ID;15000;XOF;PENDING\n", &[(Kind::Statuses, Reason::PendingThere)], 0);
    check(paid, "ID;15000;XOF;Transféré\n", &[(Kind::Statuses, Reason::UnknownStatus)], 0);
    check(
        paid,
        "ID;15000;XOF;vu\nID;15000;XOF;ACCEPTED\nID;15000;XOF;ACCEPTED\n",
        &[(Kind::TheirsNotOurs, Reason::NamedTwice)],
        1,
    );
    check(
        paid,
        "IDR2;15000;XOF;ACCEPTED\nID;15000;XOF;ACCEPTED\n",
        &[(Kind::TheirsNotOurs, Reason::PaidTwice)],
        1,
    );
    check(
        &["buy", "opened", "refused"],
        "ID;15000;XOF;ACCEPTED\n",
        &[(Kind::TheirsNotOurs, Reason::NotPaidHere)],
        0,
    );
    check(
        &["buy", "opened", "mismatch"],
        "ID;100;XOF;ACCEPTED\n",
        &[(Kind::TheirsNotOurs, Reason::NotPaidHere)],
        0,
    );
    check(&["buy", "opened"], "AUTRE;500;XOF;ACCEPTED\n", &[(Kind::TheirsNotOurs, Reason::NotOurNumber)], 0);
    check(
        &["buy"],
        "01KA3M5W6K8Y2Q4Z7X9B1C3D5E;500;XOF;ACCEPTED\n",
        &[(Kind::TheirsNotOurs, Reason::UnknownOrder)],
        0,
    );
    check(
        paid,
        "AUTRE;500;XOF;ACCEPTED\n",
        &[(Kind::OursNotTheirs, Reason::Missing), (Kind::TheirsNotOurs, Reason::NotOurNumber)],
        0,
    );
}

#[test]
fn sums_and_periods_of_a_comparison() {
    let tale = told(&["buy", "opened", "accepted"]);
    let report = compared(&tale, "transaction;montant;devise\nID;14000;XOF\nAUTRE;500;XOF\n");
    let sums = report.sums[&Currency::Xof];
    assert_eq!((sums.ours, sums.theirs, sums.agreed), (15_000, 14_500, 0));
    assert_eq!(report.findings[&Kind::Amounts].listed[0].theirs.as_deref(), Some("14000 XOF"));
    // Without a period it is the export's own days; without dates there is none.
    let dated = |date: &str| {
        Statement::read(format!("transaction;montant;date\nX;5;{date}\n").as_bytes(), Zone::UTC).unwrap()
    };
    assert!(Settlement::new(dated(""), None, Zone::UTC).is_none());
    let mut near = Settlement::new(dated("2027-01-15 10:00:00"), None, Zone::UTC).unwrap();
    near.ours(tale.payment.as_ref().unwrap());
    let report = near.finish();
    assert_eq!((report.from.as_str(), report.to.as_str()), ("2027-01-15", "2027-01-15"));
    assert_eq!(report.findings[&Kind::OursNotTheirs].listed[0].reason, Reason::MissingAtTheEdge);
    // What was paid on other days is not looked for.
    let mut far = Settlement::new(dated("2027-02-15 10:00:00"), None, Zone::UTC).unwrap();
    far.ours(tale.payment.as_ref().unwrap());
    assert!(far.finish().findings[&Kind::OursNotTheirs].listed.is_empty());
}

/// Lists are bounded, counts are not.
#[test]
fn a_long_list_is_counted_to_its_end() {
    let rows: String = (0..1_500).map(|n| format!("X{n};5;XOF;ACCEPTED\n")).collect();
    let report = compared(&told(&["buy"]), &format!("transaction;montant;devise;statut\n{rows}"));
    let found = &report.findings[&Kind::TheirsNotOurs];
    assert_eq!((found.count, found.listed.len()), (1_500, 1_000));
}

proptest! {
    /// Whatever an export says, each accepted number is agreed on or found, and what we sold is never passed over.
    #[test]
    fn nothing_is_passed_over(rows in prop::collection::vec(("(ID|IDR2|AUTRE)", 99_u64..101, "(ACCEPTED|REFUSED|PENDING|x)"), 0..5), paid in any::<bool>()) {
        let tale = told(if paid { &["buy", "opened", "accepted"] } else { &["buy", "opened"] });
        let text: String = rows.iter().map(|(id, hundreds, said)| format!("{id};{};XOF;{said}\n", hundreds * 150)).collect();
        let report = compared(&tale, &format!("transaction;montant;devise;statut\n{text}"));
        let found: u64 = report.findings.values().map(|one| one.count).sum();
        prop_assert!(report.agreed <= u64::from(paid));
        if paid {
            prop_assert!(report.agreed + found >= 1, "{:?}", report);
        }
        let accepted = rows.iter().any(|(_, _, said)| said == "ACCEPTED");
        prop_assert!(!accepted || report.agreed + found >= 1, "{:?}", report);
    }
}
