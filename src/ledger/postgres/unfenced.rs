//! The ledger without its comparisons: a node that believes it still owns what it once read. Only in a build with the
//! feature `failpoints`, and there only where `AUDITSHIELD_CRASH_UNFENCED` asks for it: the cluster's storm must find what
//! this does, or it proves nothing.

use std::borrow::Cow;

/// What a commit and a lease compare, and the constraint that would stop a second payment; and what stands there instead.
const COMPARISONS: [(&str, &str); 6] = [
    (
        "and version = $2 and head = $3 and ($12::int8 is null or epoch = $12::int8)",
        "and $2::int8 is not null and $3::text is not null",
    ),
    ("returning id\n)", "returning id, version\n)"),
    ("id, $2::int8 + 1, ", "id, version, "),
    ("from place, line", "from place, line on conflict (order_id) do nothing"),
    ("from place, moved\n", "from place, moved on conflict (order_id) do nothing\n"),
    ("and version = $2 and (lease_until", "and $2::int8 is not null and (lease_until"),
];

/// The statement without them.
pub(super) fn without_comparisons(sql: &str) -> Cow<'static, str> {
    Cow::Owned(COMPARISONS.iter().fold(sql.to_owned(), |sql, (compared, blind)| sql.replace(compared, blind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement that was written anew is still one without its comparisons here.
    #[test]
    fn nothing_is_compared() {
        let statements = [
            (include_str!("sql/commit.sql"), 3),
            (include_str!("sql/commit_paid.sql"), 4),
            (include_str!("sql/commit_keys.sql"), 4),
            (include_str!("sql/lease.sql"), 1),
        ];
        for (sql, expected) in statements {
            let found = COMPARISONS.iter().filter(|(compared, _)| sql.contains(compared)).count();
            assert_eq!(found, expected, "{sql}");
        }
    }
}
