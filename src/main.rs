//! AuditShield: the command.
fn main() {}
