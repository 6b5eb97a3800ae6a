//! In which order lines go into a journal, so that its receipts have the numbers that they had.
//!
//! A journal counts: the k-th payment of a year has number k. A database gives numbers out beside the lines. So the
//! payments of a year go in by their numbers, the lines of an order by their versions, and within that the earliest goes
//! first, so that the journal reads as it would have been written.
//!
//! There is always such an order: an order is paid once, so whoever follows both rules never comes back to where he was.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::domain::receipt::ReceiptNumber;
use crate::domain::values::OrderId;

/// What is to be known of an order.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    pub(super) id: OrderId,
    /// When each of its lines was committed, in milliseconds, by version.
    pub(super) moments: Vec<i64>,
    /// Which of them is the payment, counted from 0, and its receipt's number.
    pub(super) pays: Option<(usize, ReceiptNumber)>,
}

/// Every line, by the place of its order and its own place therein. None: the receipts' numbers have a gap.
pub(super) fn sequence(orders: &[Outline]) -> Option<Vec<(usize, usize)>> {
    let total = orders.iter().map(|order| order.moments.len()).sum();
    let mut sequence = Vec::with_capacity(total);
    let mut cursors = vec![0; orders.len()];
    let first = |(place, order): (usize, &Outline)| Some(Reverse((*order.moments.first()?, place)));
    let mut ready: BinaryHeap<Reverse<(i64, usize)>> = orders.iter().enumerate().filter_map(first).collect();
    // The next number of each year, and the orders whose payment waits for its turn.
    let (mut turns, mut waiting) = (HashMap::<i16, u64>::new(), HashMap::<ReceiptNumber, usize>::new());
    while let Some(Reverse((_, place))) = ready.pop() {
        let (order, line) = (&orders[place], cursors[place]);
        if let Some((_, number)) = order.pays.filter(|(pays, _)| *pays == line) {
            let turn = turns.entry(number.year).or_insert(1);
            if number.place != *turn {
                waiting.insert(number, place);
                continue;
            }
            *turn += 1;
            let next = ReceiptNumber { year: number.year, place: *turn };
            if let Some(freed) = waiting.remove(&next) {
                ready.push(Reverse((orders[freed].moments[cursors[freed]], freed)));
            }
        }
        sequence.push((place, line));
        cursors[place] = line + 1;
        if let Some(moment) = order.moments.get(line + 1) {
            ready.push(Reverse((*moment, place)));
        }
    }
    (sequence.len() == total).then_some(sequence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn outline(number: usize, moments: &[i64], pays: Option<(usize, i16, u64)>) -> Outline {
        let id = OrderId::from_bytes((number as u128).to_be_bytes());
        let pays = pays.map(|(line, year, place)| (line, ReceiptNumber { year, place }));
        Outline { id, moments: moments.to_vec(), pays }
    }

    fn check(orders: &[Outline], want: Option<&[(usize, usize)]>) {
        assert_eq!(sequence(orders).as_deref(), want, "{orders:?}");
    }

    #[test]
    fn lines_follow_the_clock_but_for_receipts() {
        check(&[], Some(&[]));
        check(
            &[outline(1, &[5, 6], None), outline(2, &[4, 7], None)],
            Some(&[(1, 0), (0, 0), (0, 1), (1, 1)]),
        );
        // The second was paid earlier by its clock, and has the later number.
        let both = [outline(1, &[1, 9, 10], Some((1, 2026, 1))), outline(2, &[2, 3, 4], Some((1, 2026, 2)))];
        check(&both, Some(&[(0, 0), (1, 0), (0, 1), (1, 1), (1, 2), (0, 2)]));
        // Years are counted apart.
        let years = [outline(1, &[1, 9], Some((1, 2026, 1))), outline(2, &[2, 3], Some((1, 2025, 1)))];
        check(&years, Some(&[(0, 0), (1, 0), (1, 1), (0, 1)]));
        // A clock that went back changes no order's versions.
        check(&[outline(1, &[9, 1], None), outline(2, &[5], None)], Some(&[(1, 0), (0, 0), (0, 1)]));
        for gap in [2, 3] {
            check(
                &[outline(1, &[1, 2], Some((1, 2026, 1))), outline(2, &[1], Some((0, 2026, gap + 1)))],
                None,
            );
        }
        check(&[outline(1, &[1], Some((0, 2026, 1))), outline(2, &[1], Some((0, 2026, 1)))], None);
    }

    proptest! {
        /// Whatever the clocks said: every line once, versions and receipts' numbers ascending.
        #[test]
        fn versions_and_numbers_ascend(
            lines in prop::collection::vec((prop::collection::vec(0_i64..50, 1..6), any::<bool>(), any::<bool>()), 0..20),
            shuffle in any::<u64>(),
        ) {
            let mut paying: Vec<usize> = (0..lines.len()).filter(|place| lines[*place].1).collect();
            paying.sort_by_key(|place| (*place as u64 + 1).wrapping_mul(shuffle | 1));
            let mut places = BTreeMap::<i16, u64>::new();
            let mut numbers = HashMap::new();
            for place in paying {
                let year = if lines[place].2 { 2025 } else { 2026 };
                let next = places.entry(year).or_default();
                *next += 1;
                numbers.insert(place, (lines[place].0.len() / 2, year, *next));
            }
            let orders: Vec<Outline> = lines
                .iter()
                .enumerate()
                .map(|(place, (moments, ..))| outline(place, moments, numbers.get(&place).copied()))
                .collect();
            let sequence = sequence(&orders).expect("there is one");
            let mut cursors = vec![0; orders.len()];
            let mut last = BTreeMap::<i16, u64>::new();
            for (place, line) in &sequence {
                prop_assert_eq!(cursors[*place], *line);
                cursors[*place] += 1;
                if let Some((_, number)) = orders[*place].pays.filter(|(pays, _)| pays == line) {
                    let last = last.entry(number.year).or_default();
                    *last += 1;
                    prop_assert_eq!(*last, number.place);
                }
            }
            prop_assert_eq!(sequence.len(), orders.iter().map(|order| order.moments.len()).sum::<usize>());
        }
    }
}
