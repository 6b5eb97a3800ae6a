//! Whole numbers and amounts in French words, by the rules of the traditional spelling: hyphens below a hundred only and
//! never beside « et », « vingt » and « cent » with an s where they are multiplied and end the number, « mille » always
//! without.

use super::values::{Currency, Money};

const SMALL: [&str; 20] = [
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze",
    "treize", "quatorze", "quinze", "seize", "dix-sept", "dix-huit", "dix-neuf",
];
const TENS: [&str; 7] = ["", "", "vingt", "trente", "quarante", "cinquante", "soixante"];

/// What follows a group of three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing, or a noun such as million: vingt and cent keep their s.
    Noun,
    /// « mille », a numeral: they lose it.
    Mille,
}

/// `quinze mille`, `quatre-vingts`, `deux cent un`.
pub fn in_french(number: u64) -> String {
    if number == 0 {
        return word(0).to_owned();
    }
    let group = |scale: u64| number / scale % 1000;
    let mut words = Vec::new();
    let (thousands_of_millions, rest) = (number / 1_000_000_000, number % 1_000_000_000);
    if thousands_of_millions > 0 {
        words.push(in_french(thousands_of_millions));
        words.push(plural(thousands_of_millions, "milliard", "milliards").to_owned());
    }
    match group(1_000_000) {
        0 => {}
        n => words.extend([below_thousand(n, Next::Noun), plural(n, "million", "millions").to_owned()]),
    }
    match group(1_000) {
        0 => {}
        1 => words.push("mille".to_owned()),
        n => words.extend([below_thousand(n, Next::Mille), "mille".to_owned()]),
    }
    if rest % 1000 > 0 {
        words.push(below_thousand(rest % 1000, Next::Noun));
    }
    words.join(" ")
}

/// `quinze mille francs CFA`, `un million de francs guinéens`, `douze dollars américains et cinquante cents`.
pub fn amount_in_french(money: Money) -> String {
    let (one, several) = match money.currency() {
        Currency::Xof | Currency::Xaf => ("franc CFA", "francs CFA"),
        Currency::Gnf => ("franc guinéen", "francs guinéens"),
        Currency::Cdf => ("franc congolais", "francs congolais"),
        Currency::Usd => ("dollar américain", "dollars américains"),
    };
    let parts = 10_u64.pow(money.currency().decimals());
    let (whole, cents) = (money.amount() / parts, money.amount() % parts);
    // Million and milliard are nouns: what is counted by them follows with « de ».
    let of = if whole >= 1_000_000 && whole.is_multiple_of(1_000_000) { "de " } else { "" };
    let mut text = format!("{} {of}{}", in_french(whole), plural(whole, one, several));
    if cents > 0 {
        text.push_str(&format!(" et {} {}", in_french(cents), plural(cents, "cent", "cents")));
    }
    text
}

/// In French the plural begins at two.
fn plural<'a>(count: u64, one: &'a str, several: &'a str) -> &'a str {
    if count >= 2 { several } else { one }
}

fn word(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|at| SMALL.get(at)).copied().unwrap_or_default()
}

fn below_thousand(number: u64, next: Next) -> String {
    let (hundreds, rest) = (number / 100, number % 100);
    let s = if rest == 0 && next == Next::Noun { "s" } else { "" };
    match (hundreds, rest) {
        (0, _) => below_hundred(rest, next),
        (1, 0) => "cent".to_owned(),
        (1, _) => format!("cent {}", below_hundred(rest, next)),
        (_, 0) => format!("{} cent{s}", word(hundreds)),
        (_, _) => format!("{} cent {}", word(hundreds), below_hundred(rest, next)),
    }
}

fn below_hundred(number: u64, next: Next) -> String {
    match (number, next) {
        (0..20, _) => word(number).to_owned(),
        (80, Next::Noun) => "quatre-vingts".to_owned(),
        (80, Next::Mille) => "quatre-vingt".to_owned(),
        (81..100, _) => format!("quatre-vingt-{}", word(number - 80)),
        (71, _) => "soixante et onze".to_owned(),
        (70..80, _) => format!("soixante-{}", word(number - 60)),
        (_, _) => {
            let tens = usize::try_from(number / 10).ok().and_then(|at| TENS.get(at)).copied();
            let tens = tens.unwrap_or_default();
            match number % 10 {
                0 => tens.to_owned(),
                1 => format!("{tens} et un"),
                unit => format!("{tens}-{}", word(unit)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_by_the_rules() {
        let check = |number, want: &str| assert_eq!(in_french(number), want, "{number}");
        check(0, "zéro");
        check(1, "un");
        check(16, "seize");
        check(17, "dix-sept");
        check(20, "vingt");
        check(21, "vingt et un");
        check(22, "vingt-deux");
        check(61, "soixante et un");
        check(70, "soixante-dix");
        check(71, "soixante et onze");
        check(72, "soixante-douze");
        check(79, "soixante-dix-neuf");
        check(80, "quatre-vingts");
        check(81, "quatre-vingt-un");
        check(90, "quatre-vingt-dix");
        check(91, "quatre-vingt-onze");
        check(99, "quatre-vingt-dix-neuf");
        check(100, "cent");
        check(101, "cent un");
        check(180, "cent quatre-vingts");
        check(200, "deux cents");
        check(201, "deux cent un");
        check(280, "deux cent quatre-vingts");
        check(999, "neuf cent quatre-vingt-dix-neuf");
        check(1_000, "mille");
        check(1_001, "mille un");
        check(1_100, "mille cent");
        check(2_000, "deux mille");
        check(2_200, "deux mille deux cents");
        check(15_000, "quinze mille");
        check(21_000, "vingt et un mille");
        check(71_300, "soixante et onze mille trois cents");
        check(80_000, "quatre-vingt mille");
        check(81_080, "quatre-vingt-un mille quatre-vingts");
        check(100_000, "cent mille");
        check(200_000, "deux cent mille");
        check(280_000, "deux cent quatre-vingt mille");
        check(1_000_000, "un million");
        check(1_000_001, "un million un");
        check(2_500_000, "deux millions cinq cent mille");
        check(80_000_000, "quatre-vingts millions");
        check(200_000_000, "deux cents millions");
        check(1_000_000_000, "un milliard");
        check(2_000_001_000, "deux milliards mille");
        check(80_200_080_000, "quatre-vingts milliards deux cents millions quatre-vingt mille");
    }

    #[test]
    fn amounts_are_spelled_with_their_currency() {
        let check = |units, currency, want: &str| {
            assert_eq!(amount_in_french(Money::price(units, currency).unwrap()), want, "{units}");
        };
        check(15_000, Currency::Xof, "quinze mille francs CFA");
        check(200, Currency::Xaf, "deux cents francs CFA");
        check(1_000_000, Currency::Gnf, "un million de francs guinéens");
        check(1_500_000, Currency::Gnf, "un million cinq cent mille francs guinéens");
        check(100_000_000, Currency::Xof, "cent millions de francs CFA");
        check(2_000, Currency::Cdf, "deux mille francs congolais");
        check(1_250, Currency::Usd, "douze dollars américains et cinquante cents");
        check(101, Currency::Usd, "un dollar américain et un cent");
        check(8_000, Currency::Usd, "quatre-vingts dollars américains");
    }

    /// No two numbers read the same, so a receipt's words say what its figures say.
    #[test]
    fn every_amount_reads_differently() {
        let mut seen = std::collections::HashSet::new();
        let sparse = (0..100_000).map(|n| n * 997);
        for number in (0..100_000).chain(sparse.filter(|n| *n >= 100_000)) {
            assert!(seen.insert(in_french(number)), "{number}: {}", in_french(number));
        }
    }
}
