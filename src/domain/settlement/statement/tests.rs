//! Exports as back offices may write them.

use proptest::prelude::*;

use super::*;

const ID: &str = "01KA3M5W6K8Y2Q4Z7X9B1C3D5E";

fn read(text: &str) -> Statement {
    Statement::read(text.as_bytes(), Zone::UTC).unwrap()
}

#[test]
fn columns_are_found_by_name() {
    let check = |headings: &str, row: &str| {
        let statement = read(&format!("{headings}\n{}\n", row.replace("ID", ID)));
        let [theirs] = statement.rows.as_slice() else { panic!("{headings}: {statement:?}") };
        assert_eq!(
            (theirs.transaction.unwrap().to_string(), theirs.hundredths, theirs.currency, &theirs.said),
            (ID.to_owned(), 1_500_000, Some(Currency::Xof), &Said::Accepted),
            "{headings}"
        );
        assert_eq!(theirs.at, Some("2026-11-25T14:03:22Z".parse().unwrap()), "{headings}");
    };
    check("transaction_id;amount;currency;status;payment_date", "ID;15000;XOF;ACCEPTED;2026-11-25 14:03:22");
    check(
        "Identifiant de la transaction,Montant,Devise,Statut,Date de paiement",
        "ID,15000,XOF,Succès,25/11/2026 14:03:22",
    );
    check("DATE;STATUT;N° TRANSACTION;MONTANT BRUT;DEVISE", "2026-11-25T14:03:22Z;Accepté;ID;15 000;FCFA");
    check(
        "cpm_trans_id\tcpm_amount\tcpm_currency\tcpm_trans_status\tcpm_trans_date",
        "ID\t15000.00\tXOF\t00\t2026-11-25 14:03:22",
    );
    // Several references: the column that holds our numbers is the one.
    check(
        "Référence;Montant;Montant net;Id commande;Devise;État;Date",
        "MP1;15.000;14 475;ID;xof;Payée;2026-11-25 14:03:22",
    );
    check(
        "Relevé novembre 2026\nTransaction;Montant;Devise;Statut;Date",
        "'ID;15000 FCFA;XOF;Réussi;25-11-2026 14:03:22",
    );
}

#[test]
fn a_file_without_the_columns_says_what_it_has() {
    let check =
        |text: &str, fault: Fault| assert_eq!(Statement::read(text.as_bytes(), Zone::UTC), Err(fault));
    check("nom;prix\nx;1\n", Fault::Headings(vec!["nom".into(), "prix".into()]));
    check(
        "transaction;montant net\nx;1\n",
        Fault::Headings(vec!["transaction".into(), "montant net".into()]),
    );
    check("", Fault::Table(TableFault::Empty));
}

#[test]
fn rows_that_cannot_be_read_are_kept_apart() {
    let text = format!(
        "transaction;montant;devise;date\n{ID};15000;XOF;2026-11-25\n{ID};abc;XOF;\nX;5;EUR;\nX;5;;demain\nTotal;15005;;\n;;;\n"
    );
    let statement = read(&text);
    let unread: Vec<_> =
        statement.unread.iter().map(|one| (one.line, one.column.as_str(), one.text.as_str())).collect();
    assert_eq!(unread, [(3, "amount", "abc"), (4, "currency", "EUR"), (5, "date", "demain")]);
    assert_eq!(statement.rows.len(), 1);
}

proptest! {
    #[test]
    fn no_file_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), lines in "[;,\"0-9.\\-/: a-zé\r\n]{0,120}") {
        let _bytes = Statement::read(&bytes, Zone::UTC);
        let with_headings = format!("transaction;montant;devise;statut;date\n{lines}");
        let read = Statement::read(with_headings.as_bytes(), Zone::UTC);
        // Every line below the headings is a row, an unread one, or one that names no transaction.
        if let Ok(read) = read {
            prop_assert!(read.rows.len() + read.unread.len() <= with_headings.len());
            prop_assert!(read.rows.iter().all(|row| row.line >= 2 && !row.number.is_empty()));
        }
    }
}
