//! Numbered rooms in which the halves of requests meet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::core::Offer;

/// Whoever came first, and waits.
#[derive(Debug)]
enum Seat {
    /// The prefill half; it is told about the other over the channel.
    Prefill(oneshot::Sender<Offer>),
    /// The decode half.
    Decode(Offer),
}

/// Rooms in which someone waits.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    seats: Mutex<HashMap<u64, Seat>>,
}

impl Rooms {
    /// The decode half comes: the prefill half gets `offer` now or when it comes.
    pub(crate) fn enter_decode(&self, room: u64, offer: Offer) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who left without meeting anyone.
        seats.retain(|_, seat| match seat {
            Seat::Prefill(other) => !other.is_closed(),
            Seat::Decode(offer) => !offer.is_closed(),
        });
        match seats.remove(&room) {
            // If it left just now, the offer is dropped, and this side sees that.
            Some(Seat::Prefill(other)) => drop(other.send(offer)),
            _ => drop(seats.insert(room, Seat::Decode(offer))),
        }
    }

    /// The prefill half comes, and waits for the other. Nothing if the room is given to another
    /// request meanwhile.
    pub(crate) async fn enter_prefill(&self, room: u64) -> Option<Offer> {
        let waiting = {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Seat::Decode(offer)) = seats.remove(&room) {
                return Some(offer);
            }
            let (sender, receiver) = oneshot::channel();
            seats.insert(room, Seat::Prefill(sender));
            receiver
        };
        waiting.await.ok()
    }
}
