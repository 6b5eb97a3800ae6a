//! Keeps a simulator and a mailbox up until Ctrl-C: `cargo run --example simulator -- 127.0.0.1:9090 127.0.0.1:1025`.

use auditshield::simulator::mailbox::{Mailbox, Settings};
use auditshield::simulator::{Options, start};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let http = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let smtp = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mailbox = Mailbox::start(TcpListener::bind(smtp).await?, Settings::default())?;
    let options = Options { mailbox: Some(mailbox.clone()), ..Options::default() };
    let simulator = start(TcpListener::bind(http).await?, options).await?;
    #[expect(clippy::print_stdout, reason = "the address is what this program is run for")]
    {
        println!("{}", simulator.base_url());
    }
    tokio::signal::ctrl_c().await?;
    simulator.stop().await;
    mailbox.stop();
    Ok(())
}
