//! The arguments.

use clap::{CommandFactory, Parser};

use super::Cli;

#[test]
fn arguments_agree_with_themselves() {
    Cli::command().debug_assert();
}

#[test]
fn usage() {
    let check = |line: &str, ok: bool| {
        let parsed = Cli::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), ok, "{line}");
        if let Err(fault) = parsed {
            assert_eq!(fault.exit_code(), 2, "{line}");
        }
    };
    check("auditshield serve", true);
    check("auditshield serve --config a.toml --env-file .env.prod", true);
    check("auditshield serve extra", false);
    check("auditshield demo --once", true);
    check("auditshield demo --port 70000", false);
    check("auditshield simulator --listen 127.0.0.1:0 --auto-approve 1s", true);
    check("auditshield orders list --status paid --json", true);
    check("auditshield orders list --status SOLD", false);
    check("auditshield orders show 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --json", true);
    check("auditshield orders show 01ka3m5w6k8y2q4z7x9b1c3d5e", false);
    check("auditshield orders refund 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --note x", true);
    check("auditshield orders refund 01KA3M5W6K8Y2Q4Z7X9B1C3D5E", false);
    check("auditshield orders approve 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --note=", false);
    check("auditshield orders resend 01KA3M5W6K8Y2Q4Z7X9B1C3D5E", true);
    check("auditshield orders address 01KA3M5W6K8Y2Q4Z7X9B1C3D5E awa@example.ci --note x --by Awa", true);
    check("auditshield orders address 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --note x", false);
    check("auditshield orders list --since 2026-11-01 --until 2026-11-30 --stalled", true);
    check("auditshield orders refund", false);
    check("auditshield orders export --from 2026-11-01 --to 2026-11-30 --format jsonl --by created_at", true);
    check("auditshield orders export --from 2026-11-01", false);
    check("auditshield orders export --from 2026-11-31 --to 2026-12-01", false);
    check("auditshield orders export --from 2026-11-01 --to 2026-11-30 --format xlsx", false);
    check("auditshield orders settle releve.csv --json", true);
    check("auditshield orders settle releve.csv --from 2026-11-01", false);
    check("auditshield orders settle", false);
    check("auditshield orders dossier 01KA3M5W6K8Y2Q4Z7X9B1C3D5E", true);
    check("auditshield orders proof 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --output preuve.json", true);
    check("auditshield orders proof --public-key", true);
    check("auditshield orders proof", false);
    check("auditshield orders proof 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --public-key", false);
    check("auditshield ledger verify --json", true);
    check("auditshield ledger migrate --from sled:a --to postgres://b/c --json", true);
    check("auditshield ledger migrate --to sled:a", true);
    check("auditshield ledger migrate", false);
    check("auditshield config check --json", true);
    check("auditshield doctor --go-live --json --test-mail awa@example.ci", true);
    check("auditshield doctor --test-mail nobody", false);
    check("auditshield dev --env-file .env --public-url https://essai.example.ci", true);
    check("auditshield dev --public-url nowhere", false);
    check("auditshield install --user --prefix /home/awa/auditshield --port 8200 --no-cron", true);
    check("auditshield install", false);
    check("auditshield install --user --port 80", false);
    check("auditshield uninstall --user", true);
    check("auditshield manual target/manual", true);
    check("auditshield", false);
}

#[test]
fn threads() {
    let check = |threads_max, cores, want| {
        let (workers, blocking) = super::pools(threads_max, cores);
        assert_eq!((workers, blocking), want, "{threads_max} threads, {cores} cores");
        assert!(super::THREADS_FIXED + workers + blocking <= threads_max);
    };
    check(14, 1, (2, 2));
    check(16, 1, (2, 4));
    check(16, 2, (2, 4));
    check(16, 64, (2, 4));
    check(24, 8, (6, 8));
    check(32, 8, (8, 8));
    check(64, 64, (46, 8));
}
