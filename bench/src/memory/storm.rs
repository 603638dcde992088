//! What disturbs the packet path: states that follow each other, floods of new flows.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use shunt_dataplane::forwarding::{Builder, ForwardingState, Options};
use shunt_dataplane::publish::Publisher;

use crate::memory::pass::Scene;
use crate::memory::{Row, on_processor};
use crate::state::{of, services};
use crate::traffic::{FRAME, Family, Shape, Traffic};
use crate::wire::cores;

/// Services of the states: what is copied from state to state, and where each worker looks anew.
const SERVICES: u16 = 100;

/// How long a state stands before the next is built.
const STANDS: Duration = Duration::from_millis(1);
/// Who took longer for a burst was interrupted.
const INTERRUPTED: Duration = Duration::from_micros(50);

/// What control does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Nothing.
    Rests,
    /// It builds a state for every millisecond of forwarding, and throws it away.
    Builds,
    /// It builds them, and they are published.
    Publishes,
}

/// The pass, state by state: a new one for every millisecond of it, or always the same. Another thread on another core builds
/// and publishes them, as control does it; each has another real server that drains or is back.
///
/// Two cores may be two halves of one, or share what feeds them: then to build something beside the packet path slows it, whether
/// it is published or not. So publishing is compared with building.
///
/// A state is built while frames are forwarded, and what that thread has left to do then is waited for outside the time
/// that counts: on a busy machine it is late, and there would be fewer states than said.
pub fn published(control: Control, at: usize) -> Row {
    let what = match control {
        Control::Rests => "0",
        Control::Builds => "1000 unpublished",
        Control::Publishes => "1000",
    };
    Row::timed("publish", what, at, move || {
        let mut publisher = Publisher::new(of(&services(Family::Ipv4, SERVICES, Options::default())));
        let mut subscriber = publisher.subscribe();
        let mut scene = Scene::<FRAME>::new(Shape::of(1_000), Options::default());
        let (ask, asked) = mpsc::channel();
        let (publish, published) = mpsc::channel();
        // It ends with the row.
        thread::spawn(move || serve(control, publisher, asked, publish));
        // How long the state stands by now.
        let mut stands = Duration::ZERO;
        let mut is_asked = false;
        move |bursts| {
            let mut all = Duration::ZERO;
            let mut left = bursts;
            while left > 0 {
                if control != Control::Rests && !is_asked {
                    ask.send(()).expect("it listens");
                    is_asked = true;
                }
                let some = left.min(A_LOOK);
                let before = on_processor();
                for _ in 0..some {
                    scene.turn_under(subscriber.current());
                }
                let took = on_processor().saturating_sub(before);
                (all, stands, left) = (all + took, stands + took, left - some);
                if stands >= STANDS {
                    stands = Duration::ZERO;
                    // A worker that slept would have to be woken, which is no cost of publishing.
                    while is_asked {
                        is_asked = published.try_recv().is_err();
                        std::hint::spin_loop();
                    }
                }
            }
            all
        }
    })
}

/// The clock is looked at after so many bursts.
const A_LOOK: usize = 100;

/// What the control thread does.
fn serve(
    control: Control,
    mut publisher: Publisher<ForwardingState>,
    asked: mpsc::Receiver<()>,
    publish: mpsc::Sender<()>,
) {
    cores::pin(cores::generator(0));
    let mut specs = services(Family::Ipv4, SERVICES, Options::default());
    let mut kept: Option<Arc<ForwardingState>> = None;
    for (n, ()) in asked.iter().enumerate() {
        // Each service in its turn, the one that has the frames among them.
        let real = &mut specs[n % usize::from(SERVICES)].reals[0];
        (real.weight, real.share) = if real.weight == 0 { (1, 1) } else { (0, 0) };
        let before = kept.as_ref().unwrap_or_else(|| publisher.current());
        let next = Builder::after(before, 1, 1).build(&specs).expect("good");
        match control {
            Control::Publishes => publisher.publish(next),
            // Else what has changed so far would be built each time.
            Control::Builds | Control::Rests => kept = Some(Arc::new(next)),
        }
        if publish.send(()).is_err() {
            return;
        }
    }
}

/// Flows that live, of which nothing else counts; in a flood as many SYNs of new flows come between, a burst for a
/// burst, and are not counted: what they leave in the caches and in the table is. Each burst is timed by itself, and one
/// that was interrupted is not counted either.
pub fn flooded(flows: usize, is_flooded: bool, at: usize) -> Row {
    let name = if is_flooded { "flood/in a flood" } else { "flood/in peace" };
    Row::timed(name, flows, at, move || {
        let mut scene = Scene::<FRAME>::new(Shape::of(flows), Options::default());
        let mut flood = Traffic::shaped(Shape { fresh: 100, ..Shape::of(1) });
        move |bursts| {
            let (mut all, mut counted) = (Duration::ZERO, 0);
            for _ in 0..bursts {
                if is_flooded {
                    scene.turn_with(&mut flood);
                }
                let before = Instant::now();
                scene.turn();
                let took = before.elapsed();
                if took < INTERRUPTED {
                    (all, counted) = (all + took, counted + 1);
                }
            }
            all.mul_f64(bursts as f64 / f64::from(counted.max(1)))
        }
    })
}
