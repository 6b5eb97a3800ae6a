//! AuditShield: the command.

fn main() -> std::process::ExitCode {
    auditshield::cli::main()
}
