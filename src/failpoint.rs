//! Named points at which the crash matrix (`tests/crash`) makes the process die. Only with the feature `failpoints`:
//! without it the macros expand to nothing, and a test greps the release binary for the points' names.
//!
//! `AUDITSHIELD_CRASH=<point>=<action>[@<n>][~<millis>]` strikes once, the n-th time the point is reached, and, with
//! `~`, that long afterwards and beside it. Actions: `kill` (SIGKILL), `abort` (SIGABRT, as a watchdog ends a
//! process), `stop` (SIGSTOP: the power may be cut while nothing moves), `panic`.
//!
//! Why through the process's own hand: the signal falls at the very instruction, not near it.

/// Marks a point, reached always or `if` a condition holds.
#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::reach($name)
    };
    ($name:literal if $condition:expr) => {
        if $condition {
            $crate::failpoint::reach($name)
        }
    };
}

/// Marks a point: nothing in this build.
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($name:literal $(if $condition:expr)?) => {};
}

/// Marks a point that is reached in the middle of a future: sent, and not yet answered.
#[cfg(feature = "failpoints")]
macro_rules! failpoint_during {
    ($name:literal, $work:expr) => {
        $crate::failpoint::during($name, $work)
    };
}

/// Marks a point: the work alone in this build.
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint_during {
    ($name:literal, $work:expr) => {
        $work
    };
}

/// A bound that tests make smaller, `AUDITSHIELD_CRASH_<name>`: the constant alone in an ordinary build.
#[cfg(feature = "failpoints")]
macro_rules! failpoint_bound {
    ($name:literal, $usual:expr) => {
        $crate::failpoint::bound(concat!("AUDITSHIELD_CRASH_", $name), $usual)
    };
}

/// A bound that tests make smaller: the constant alone in this build.
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint_bound {
    ($name:literal, $usual:expr) => {
        $usual
    };
}

/// One of two: the first where a test sets `AUDITSHIELD_CRASH_<name>`. Only the ledger on PostgreSQL has such choices.
#[cfg(all(feature = "failpoints", feature = "postgres"))]
macro_rules! failpoint_choice {
    ($name:literal, $chosen:expr, $usual:expr) => {
        if $crate::failpoint::bound(concat!("AUDITSHIELD_CRASH_", $name), 0) == 0 { $usual } else { $chosen }
    };
}

/// One of two: the second in this build.
#[cfg(all(not(feature = "failpoints"), feature = "postgres"))]
macro_rules! failpoint_choice {
    ($name:literal, $chosen:expr, $usual:expr) => {
        $usual
    };
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::{bound, during, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    /// The variable that names the point and what happens there.
    const VARIABLE: &str = "AUDITSHIELD_CRASH";
    /// After this long a question has surely been sent; the matrix makes answers take several times as long.
    const DURING: Duration = Duration::from_millis(200);

    /// What happens at a point.
    #[derive(Clone, Copy)]
    enum Action {
        Signal(Signal),
        Stop,
        Panic,
    }

    /// Reached: strikes if it was asked to.
    pub(crate) fn reach(name: &str) {
        static ARMED: OnceLock<()> = OnceLock::new();
        ARMED.get_or_init(arm);
        fail::fail_point!(name);
    }

    /// Reaches the point while `work` waits for its answer.
    pub(crate) async fn during<T>(name: &str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(DURING) => {}
        }
        reach(name);
        work.await
    }

    /// The bound that a test gave, or the usual one.
    pub(crate) fn bound(variable: &str, usual: u64) -> u64 {
        std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    }

    fn arm() {
        let Ok(text) = std::env::var(VARIABLE) else { return };
        let armed = parse(&text).and_then(|(name, action, nth, after)| {
            let reached = AtomicU32::new(0);
            let shown = name.to_owned();
            fail::cfg_callback(name, move || {
                if reached.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                    tracing::error!(point = shown, "crash point");
                    strike(action, after);
                }
            })
            .ok()
        });
        assert!(armed.is_some(), "{VARIABLE}={text}: <point>=<kill|abort|stop|panic>[@<n>][~<millis>]");
    }

    fn parse(text: &str) -> Option<(&str, Action, u32, Duration)> {
        let (name, rest) = text.split_once('=')?;
        let (rest, after) = rest.split_once('~').unwrap_or((rest, "0"));
        let (word, nth) = rest.split_once('@').unwrap_or((rest, "1"));
        let action = match word {
            "kill" => Action::Signal(Signal::KILL),
            "abort" => Action::Signal(Signal::ABORT),
            "stop" => Action::Stop,
            "panic" => Action::Panic,
            _ => return None,
        };
        Some((name, action, nth.parse().ok()?, Duration::from_millis(after.parse().ok()?)))
    }

    /// The signal may take another thread first: this one goes no further in any case.
    fn end(signal: Signal) {
        let _ = kill_process(getpid(), signal);
        loop {
            std::thread::park();
        }
    }

    fn strike(action: Action, after: Duration) {
        if !after.is_zero() {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, which only waits to strike")]
            std::thread::spawn(move || {
                std::thread::sleep(after);
                strike(action, Duration::ZERO);
            });
            return;
        }
        // The system refuses no signal to oneself.
        match action {
            Action::Signal(signal) => end(signal),
            Action::Stop => end(Signal::STOP),
            #[expect(clippy::panic, reason = "the panic that the matrix asks for")]
            Action::Panic => panic!("a crash point"),
        }
    }
}
