//! `simulator`: the offline CinetPay on a port of its own.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Failure, THREADS_MAX, output, runtime};
use crate::config::LogFormat;
use crate::simulator::{self, Options};
use crate::telemetry;

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield simulator
  auditshield simulator --auto-approve 5s --check-latency 500ms
  auditshield simulator --settings '{\"check_fault\":{\"kind\":\"html502\",\"times\":3}}'
Puis / Then: CINETPAY_ENV=sandbox CINETPAY_API_URL=http://127.0.0.1:8020")]
pub(super) struct SimulatorArgs {
    /// Adresse:port · Address:port
    #[arg(long, default_value = "127.0.0.1:8020")]
    listen: SocketAddr,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: SimulatorArgs) -> Result<(), Failure> {
    telemetry::logs("info", LogFormat::Auto);
    runtime(THREADS_MAX)?.block_on(Box::pin(serve(args)))
}

async fn serve(args: SimulatorArgs) -> Result<(), Failure> {
    let unavailable = |fault: std::io::Error| {
        output::complain(&format_args!("{}: {fault}", args.listen));
        Failure::Unavailable
    };
    let listener = TcpListener::bind(args.listen).await.map_err(unavailable)?;
    let running = simulator::start(listener, args.options).await.map_err(|fault| {
        output::complain(&fault);
        Failure::Failed
    })?;
    output::say(running.base_url());
    stop_asked().await;
    running.stop().await;
    Ok(())
}

/// Ctrl-C, or SIGTERM.
async fn stop_asked() {
    #[cfg(unix)]
    if let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Without a way to hear signals, only a kill ends it.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
