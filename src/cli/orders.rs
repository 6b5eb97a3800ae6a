//! `orders`: what the dashboard does, for a shell. Everything goes over the daemon's admin API, so that the order's
//! own actor stays the only one that writes.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Source, THREADS_MAX, output, papers, refuse, runtime};
use crate::adapters::admin_api::{AdminApi, ApiError};
use crate::config;
use crate::domain::payment::Status;
use crate::domain::values::{Lang, OrderId};
use crate::domain::words;

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield orders list --status REVIEW
  auditshield orders list --q awa@example.ci --json
  auditshield orders list --q 2026-000123
  auditshield orders list --since 2026-11-01 --until 2026-11-30 --status PAID
  auditshield orders show 01KA3M5W6K8Y2Q4Z7X9B1C3D5E
  auditshield orders export --from 2026-11-01 --to 2026-11-30 --output novembre.csv
  auditshield orders settle releve-cinetpay.csv
  auditshield orders dossier 01KA3M5W6K8Y2Q4Z7X9B1C3D5E
  auditshield orders proof 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --output preuve.json
  auditshield orders refund 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --note \"remboursé par Orange Money\"
  auditshield orders address 01KA3M5W6K8Y2Q4Z7X9B1C3D5E awa@gmail.com --note \"faute de frappe, client au téléphone\"")]
pub(super) struct OrdersArgs {
    #[command(subcommand)]
    command: About,
    #[command(flatten)]
    source: Source,
    /// Réponse en JSON · Answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// One order or the list, or what is written about them.
#[derive(Subcommand)]
enum About {
    #[command(flatten)]
    Orders(OrdersCommand),
    #[command(flatten)]
    Papers(papers::PapersCommand),
}

#[derive(Subcommand)]
enum OrdersCommand {
    /// Liste, les plus récentes d'abord · Lists them, newest first
    List(ListArgs),
    /// Une commande et son histoire · One order and its history
    Show(One),
    /// Demande à CinetPay maintenant · Asks CinetPay now
    Verify(One),
    /// Renvoie l'e-mail · Sends the mail again
    Resend(Resent),
    /// Corrige l'adresse e-mail ; l'ancien lien ne marche plus · Corrects the e-mail address; the old link dies
    Address(Addressed),
    /// Approuve un paiement à décider : REVIEW → PAID · Approves a payment
    Approve(Decided),
    /// Rejette un paiement à décider : REVIEW → FAILED · Rejects a payment
    Reject(Decided),
    /// Note un remboursement, désactive le lien · Records a refund, withdraws the link
    Refund(Decided),
    /// Désactive le lien · Withdraws the link
    Revoke(Decided),
}

#[derive(clap::Args)]
struct ListArgs {
    /// CREATED, PENDING, PAID, FAILED, REVIEW, EXPIRED, REFUNDED
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Status::NAMES), ignore_case = true)]
    status: Option<String>,
    /// Numéro de commande ou de reçu, e-mail ou transaction · Order id, receipt number, e-mail address or transaction
    #[arg(long, short)]
    q: Option<String>,
    /// Du jour, à l'heure de la boutique · From this day on, the shop's clock
    #[arg(long, value_name = "2026-11-01")]
    since: Option<String>,
    /// Jusqu'au jour compris · To the end of this day
    #[arg(long, value_name = "2026-11-30")]
    until: Option<String>,
    /// Payées, e-mail refusé pour de bon · Paid, mail refused for good
    #[arg(long)]
    stalled: bool,
    /// La suite d'une liste · Goes on after a list's end
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(clap::Args)]
struct One {
    /// Numéro de commande · Order id
    #[arg(value_parser = order_id)]
    id: OrderId,
}

/// An act that changes money or access: somebody says why.
#[derive(clap::Args)]
struct Decided {
    #[command(flatten)]
    one: One,
    /// Motif, conservé dans le journal ; rien de personnel · Reason, kept in the journal; nothing personal
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    note: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(clap::Args)]
struct Resent {
    #[command(flatten)]
    one: One,
    /// Motif, conservé dans le journal ; rien de personnel · Reason, kept in the journal; nothing personal
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(clap::Args)]
struct Addressed {
    #[command(flatten)]
    one: One,
    /// La bonne adresse · The right address
    email: String,
    /// Motif, conservé dans le journal ; rien de personnel · Reason, kept in the journal; nothing personal
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    note: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(clap::Args)]
struct Signed {
    /// Votre nom dans le journal · Your name in the journal
    #[arg(long, default_value = "admin")]
    by: String,
}

pub(super) fn order_id(text: &str) -> Result<OrderId, String> {
    OrderId::parse(text).map_err(|why| why.to_string())
}

pub(super) fn run(args: OrdersArgs) -> Result<(), Failure> {
    let admin = config::load_admin(&args.source.given()).map_err(|problems| refuse(&problems))?;
    let api = AdminApi::new(&admin).map_err(|fault| complain(&fault))?;
    let command = match &args.command {
        About::Orders(command) => command,
        About::Papers(command) => return papers::run(&api, command, args.json),
    };
    let answer = runtime(THREADS_MAX)?.block_on(ask(&api, command)).map_err(|fault| complain(&fault))?;
    if args.json {
        output::json(&answer);
    } else if matches!(command, OrdersCommand::List(_)) {
        print_list(&answer);
    } else {
        print_order(&answer);
    }
    Ok(())
}

async fn ask(api: &AdminApi, command: &OrdersCommand) -> Result<Value, ApiError> {
    let decide = |decided: &Decided, verb: &'static str| {
        (decided.one.id, verb, json!({"note": decided.note, "by": decided.signed.by}))
    };
    let (id, verb, wish) = match command {
        OrdersCommand::List(list) => return api.list(&filters(list)).await,
        OrdersCommand::Show(one) => return api.show(one.id).await,
        OrdersCommand::Verify(one) => (one.id, "verify", json!({})),
        OrdersCommand::Resend(resent) => {
            (resent.one.id, "resend", json!({"note": resent.note, "by": resent.signed.by}))
        }
        OrdersCommand::Address(to) => {
            (to.one.id, "address", json!({"email": to.email, "note": to.note, "by": to.signed.by}))
        }
        OrdersCommand::Approve(decided) => decide(decided, "approve"),
        OrdersCommand::Reject(decided) => decide(decided, "reject"),
        OrdersCommand::Refund(decided) => decide(decided, "refund"),
        OrdersCommand::Revoke(decided) => decide(decided, "revoke"),
    };
    api.act(id, verb, &wish).await
}

fn filters(list: &ListArgs) -> Vec<(&'static str, &str)> {
    let texts = [
        ("status", list.status.as_deref()),
        ("q", list.q.as_deref()),
        ("since", list.since.as_deref()),
        ("until", list.until.as_deref()),
        ("cursor", list.cursor.as_deref()),
        ("mail", list.stalled.then_some("stalled")),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

pub(super) fn complain(fault: &ApiError) -> Failure {
    output::complain(fault);
    match fault {
        ApiError::Unreachable(_) | ApiError::Busy(_) => Failure::Unavailable,
        ApiError::Denied => Failure::Config,
        ApiError::Refused { .. } | ApiError::Unreadable | ApiError::Output(_) => Failure::Failed,
    }
}

fn text(order: &Value, key: &str) -> String {
    match &order[key] {
        Value::Null => String::new(),
        Value::String(text) => output::plain(text),
        other => output::plain(&other.to_string()),
    }
}

/// `15 000 FCFA`.
fn amount(order: &Value) -> String {
    let currency = order["currency"].as_str().and_then(|code| code.parse().ok());
    match (order["amount"].as_u64(), currency) {
        (Some(units), Some(currency)) => words::sum(units, currency, Lang::Fr),
        (Some(_) | None, Some(_) | None) => format!("{} {}", text(order, "amount"), text(order, "currency")),
    }
}

fn print_list(answer: &Value) {
    let empty = Vec::new();
    let orders = answer["orders"].as_array().or_else(|| answer.as_array()).unwrap_or(&empty);
    let mut table = output::table(&["order_id", "status", "product", "amount", "email", "created_at"]);
    for order in orders {
        table.add_row([
            text(order, "order_id"),
            text(order, "status"),
            format!("{}/{}", text(order, "product"), text(order, "tier")),
            amount(order),
            text(order, "email"),
            text(order, "created_at"),
        ]);
    }
    output::say(table);
    if let Some(cursor) = ["next_cursor", "cursor", "next"].iter().find_map(|key| answer[key].as_str()) {
        output::say(format_args!("… --cursor {}", output::plain(cursor)));
    }
}

fn print_order(order: &Value) {
    for (key, value) in order.as_object().into_iter().flatten().filter(|(key, _)| *key != "events") {
        match value {
            Value::Null => {}
            Value::Object(parts) => {
                for part in parts.keys().filter(|part| !value[part.as_str()].is_null()) {
                    output::say(format_args!("{:<24} {}", format!("{key}.{part}"), text(value, part)));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                output::say(format_args!("{key:<24} {}", text(order, key)));
            }
        }
    }
    let mut events = output::table(&["seq", "at", "kind", "detail"]);
    for event in order["events"].as_array().into_iter().flatten() {
        events.add_row([text(event, "seq"), text(event, "at"), text(event, "kind"), text(event, "detail")]);
    }
    if events.row_count() > 0 {
        output::say(events);
    }
}
