//! `orders`: what the dashboard does, for a shell. Everything goes over the daemon's admin API, so that the order's
//! own actor stays the only one that writes.

use clap::Subcommand;
use serde_json::Value;

use super::{Failure, Source, THREADS_MAX, output, refuse, runtime};
use crate::adapters::admin_api::{AdminApi, ApiError};
use crate::config;
use crate::domain::payment::Status;
use crate::domain::values::OrderId;

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield orders list --status REVIEW
  auditshield orders list --q awa@example.ci --json
  auditshield orders show 01KA3M5W6K8Y2Q4Z7X9B1C3D5E
  auditshield orders refund 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --note \"remboursé par Orange Money\"")]
pub(super) struct OrdersArgs {
    #[command(subcommand)]
    command: OrdersCommand,
    #[command(flatten)]
    source: Source,
    /// Réponse en JSON · Answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum OrdersCommand {
    /// Liste, les plus récentes d'abord · Lists them, newest first
    List(ListArgs),
    /// Une commande et son histoire · One order and its history
    Show(One),
    /// Demande à CinetPay maintenant · Asks CinetPay now
    Verify(One),
    /// Renvoie le courriel · Sends the mail again
    Resend(Decided),
    /// REVIEW → PAID
    Approve(Decided),
    /// REVIEW → FAILED
    Reject(Decided),
    /// Note un remboursement, retire le lien · Records a refund, withdraws the link
    Refund(Decided),
    /// Retire le lien · Withdraws the link
    Revoke(Decided),
}

#[derive(clap::Args)]
struct ListArgs {
    /// CREATED, PENDING, PAID, FAILED, REVIEW, EXPIRED, REFUNDED
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Status::NAMES), ignore_case = true)]
    status: Option<String>,
    /// Numéro ou adresse électronique · Order id or e-mail address
    #[arg(long, short)]
    q: Option<String>,
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

#[derive(clap::Args)]
struct Decided {
    #[command(flatten)]
    one: One,
    /// Motif, conservé dans le journal ; rien de personnel · Reason, kept in the journal; nothing personal
    #[arg(long, default_value = "")]
    note: String,
}

fn order_id(text: &str) -> Result<OrderId, String> {
    OrderId::parse(text).map_err(|why| why.to_string())
}

pub(super) fn run(args: OrdersArgs) -> Result<(), Failure> {
    let admin = config::load_admin(&args.source.given()).map_err(|problems| refuse(&problems))?;
    let api = AdminApi::new(&admin).map_err(|fault| complain(&fault))?;
    let answer =
        runtime(THREADS_MAX)?.block_on(ask(&api, &args.command)).map_err(|fault| complain(&fault))?;
    if args.json {
        output::json(&answer);
    } else if matches!(args.command, OrdersCommand::List(_)) {
        print_list(&answer);
    } else {
        print_order(&answer);
    }
    Ok(())
}

async fn ask(api: &AdminApi, command: &OrdersCommand) -> Result<Value, ApiError> {
    let decide = |decided: &Decided, verb: &'static str| (decided.one.id, verb, decided.note.clone());
    let (id, verb, note) = match command {
        OrdersCommand::List(list) => {
            let status = list.status.as_ref().map(|status| status.to_ascii_uppercase());
            return api.list(status.as_deref(), list.q.as_deref(), list.cursor.as_deref()).await;
        }
        OrdersCommand::Show(one) => return api.show(one.id).await,
        OrdersCommand::Verify(one) => (one.id, "verify", String::new()),
        OrdersCommand::Resend(decided) => decide(decided, "resend"),
        OrdersCommand::Approve(decided) => decide(decided, "approve"),
        OrdersCommand::Reject(decided) => decide(decided, "reject"),
        OrdersCommand::Refund(decided) => decide(decided, "refund"),
        OrdersCommand::Revoke(decided) => decide(decided, "revoke"),
    };
    api.act(id, verb, &note).await
}

fn complain(fault: &ApiError) -> Failure {
    output::complain(fault);
    match fault {
        ApiError::Unreachable(_) | ApiError::Busy(_) => Failure::Unavailable,
        ApiError::Denied => Failure::Config,
        ApiError::Refused { .. } | ApiError::Unreadable => Failure::Failed,
    }
}

fn text(order: &Value, key: &str) -> String {
    match &order[key] {
        Value::Null => String::new(),
        Value::String(text) => output::plain(text),
        other => output::plain(&other.to_string()),
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
            format!("{} {}", text(order, "amount"), text(order, "currency")),
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
