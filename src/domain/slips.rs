//! Common slips in e-mail addresses: gmial.com for gmail.com. A suggestion, never a refusal.

use super::values::Email;

/// Where most buyers have their mail. A domain of this list is never suspected.
const KNOWN: [&str; 17] = [
    "gmail.com",
    "yahoo.fr",
    "yahoo.com",
    "hotmail.com",
    "hotmail.fr",
    "outlook.com",
    "outlook.fr",
    "live.fr",
    "live.com",
    "icloud.com",
    "orange.fr",
    "orange.ci",
    "aviso.ci",
    "protonmail.com",
    "proton.me",
    "ymail.com",
    "laposte.net",
];
/// Endings that no provider above has, typed for one that it has.
const ENDINGS: [(&str, &str); 8] = [
    (".con", ".com"),
    (".cim", ".com"),
    (".vom", ".com"),
    (".comm", ".com"),
    (".co", ".com"),
    (".cm", ".com"),
    (".om", ".com"),
    (".ft", ".fr"),
];
/// Slips that are taken for a known domain: a letter too many, too few, wrong, or two swapped.
const SLIPS_MAX: usize = 1;

/// The address that was probably meant, if another one than `email`.
pub fn suggestion(email: &Email) -> Option<Email> {
    let (name, domain) = email.expose().rsplit_once('@')?;
    let domain = domain.to_ascii_lowercase();
    if KNOWN.contains(&domain.as_str()) {
        return None;
    }
    let by_ending = ENDINGS.iter().find_map(|(wrong, right)| {
        let meant = format!("{}{right}", domain.strip_suffix(wrong)?);
        KNOWN.contains(&meant.as_str()).then_some(meant)
    });
    let near = |known: &&&str| distance(&domain, known) <= SLIPS_MAX;
    let meant = by_ending.or_else(|| KNOWN.iter().find(near).map(|known| (*known).to_owned()))?;
    Email::parse(&format!("{name}@{meant}")).ok()
}

/// Letters added, left out, replaced or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > SLIPS_MAX {
        return SLIPS_MAX + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_noticed_and_good_addresses_left_alone() {
        let check = |typed: &str, want: &str| {
            let found = suggestion(&Email::parse(typed).unwrap());
            assert_eq!(found.as_ref().map_or("", Email::expose), want, "{typed}");
        };
        check("awa@gmial.com", "awa@gmail.com");
        check("Awa.Kone@GMIAL.COM", "Awa.Kone@gmail.com");
        check("awa@gmal.com", "awa@gmail.com");
        check("awa@gmaill.com", "awa@gmail.com");
        check("awa@gmail.con", "awa@gmail.com");
        check("awa@gmail.cm", "awa@gmail.com");
        check("awa@gmail.co", "awa@gmail.com");
        check("awa@hotmial.fr", "awa@hotmail.fr");
        check("awa@yaho.fr", "awa@yahoo.fr");
        check("awa@outlok.com", "awa@outlook.com");
        // Two slips at once are no slip: one letter too many or too few, and a wrong one.
        check("awa@agmaol.com", "");
        check("awa@gmao.com", "");
        check("awa@gmiax.com", "");
        for good in
            ["awa@gmail.com", "awa@live.fr", "awa@orange.ci", "awa@example.ci", "awa@boutique.ci", "awa@a.bc"]
        {
            check(good, "");
        }
    }
}
