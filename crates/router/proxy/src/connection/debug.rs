//! Requests on the debug listener.

use super::reply::Reply;
use super::{Connection, Next};
use crate::admin;
use crate::http1::request::RequestHead;
use crate::transport::Transport;

impl<S: Transport> Connection<S> {
    pub(super) async fn debug(&mut self, head: RequestHead) -> Next {
        let (keep_alive, old) = (head.keep_alive, head.old);
        let received = match self.receive(head).await {
            Ok(received) => received,
            Err(error) => {
                let reply = Reply::error(&error, self.worker.shared.errors);
                return self.send(&reply, false, old).await;
            }
        };
        let reply = admin::answer(&self.worker.shared, &received, &mut self.rng);
        self.send(&reply, keep_alive, old).await
    }
}
