//! Who sells: what pages, receipts and mails say of the merchant.

/// The merchant, as the configuration names them. Only the name is never empty once read from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merchant {
    /// The shop's name.
    pub name: String,
    /// A postal address in one line; may be empty.
    pub address: String,
    /// An e-mail address or a telephone number for buyers; may be empty.
    pub contact: String,
    /// Registration and tax numbers, for receipts; may be empty.
    pub identifiers: String,
}
