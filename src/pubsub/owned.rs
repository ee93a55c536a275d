//! The connection of a subscriber that was split into owned halves.

use std::any::Any;
use std::sync::Arc;

use super::subscriptions::Subscriptions;
use crate::conn::Conn;
use crate::conn::owned::{OwnedReceiveHalf, OwnedSendHalf};
use crate::error::Result;
use crate::sync::Mutex;

pub(super) struct OwnedSender {
    pub(super) half: OwnedSendHalf,
    pub(super) subscriptions: Subscriptions,
    parked: Arc<Mutex<Parked>>,
}

pub(super) struct OwnedReceiver {
    pub(super) half: OwnedReceiveHalf,
    parked: Arc<Mutex<Parked>>,
}

/// The connection while its halves are out. The last half to be dropped puts it together again and
/// drops it.
struct Parked {
    conn: Option<Box<dyn Parkable>>,
    sender: Option<OwnedSendHalf>,
    receiver: Option<OwnedReceiveHalf>,
}

/// A wrapped connection of any type.
trait Parkable: Any + Send {
    fn conn(&mut self) -> &mut Conn;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<C: AsMut<Conn> + Send + 'static> Parkable for C {
    fn conn(&mut self) -> &mut Conn {
        self.as_mut()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

pub(super) fn split<C: AsMut<Conn> + Send + 'static>(
    mut conn: C,
    subscriptions: Subscriptions,
) -> Result<(OwnedSender, OwnedReceiver)> {
    let (sender, receiver) = conn.as_mut().take_halves()?;
    let parked = Parked { conn: Some(Box::new(conn)), sender: None, receiver: None };
    let parked = Arc::new(Mutex::new(parked));
    let sender = OwnedSender { half: sender, subscriptions, parked: Arc::clone(&parked) };
    Ok((sender, OwnedReceiver { half: receiver, parked }))
}

pub(super) type Reunited<C> = std::result::Result<(C, Subscriptions), (OwnedSender, OwnedReceiver)>;

/// Returns the halves unchanged if they are of different connections, or if the connection is not
/// a `C`.
#[allow(clippy::result_large_err, reason = "the halves are returned unchanged")]
pub(super) fn reunite<C: AsMut<Conn> + 'static>(
    mut sender: OwnedSender,
    mut receiver: OwnedReceiver,
) -> Reunited<C> {
    if !Arc::ptr_eq(&sender.parked, &receiver.parked) {
        return Err((sender, receiver));
    }
    let conn = sender.parked.lock().take::<C>();
    let Some(mut conn) = conn else { return Err((sender, receiver)) };
    conn.as_mut().put_halves(sender.half.take(), receiver.half.take());
    Ok((conn, std::mem::take(&mut sender.subscriptions)))
}

impl Parked {
    fn take<C: 'static>(&mut self) -> Option<C> {
        if !self.conn.as_ref()?.as_ref().as_any().is::<C>() {
            return None;
        }
        let conn = self.conn.take()?.into_any().downcast::<C>().ok()?;
        Some(*conn)
    }

    /// Returns the connection to drop, if both halves are back.
    fn rejoin(&mut self) -> Option<Box<dyn Parkable>> {
        if self.conn.is_none() || self.sender.is_none() || self.receiver.is_none() {
            return None;
        }
        let mut conn = self.conn.take()?;
        conn.conn().put_halves(self.sender.take()?, self.receiver.take()?);
        Some(conn)
    }
}

impl Drop for OwnedSender {
    fn drop(&mut self) {
        let mut parked = self.parked.lock();
        parked.sender = Some(self.half.take());
        let conn = parked.rejoin();
        // The destructor of the connection can be the caller's code, so it runs without the lock.
        drop(parked);
        drop(conn);
    }
}

impl Drop for OwnedReceiver {
    fn drop(&mut self) {
        let mut parked = self.parked.lock();
        parked.receiver = Some(self.half.take());
        let conn = parked.rejoin();
        drop(parked);
        drop(conn);
    }
}
