//! A streamed answer: tokens in, events out, with the breaks that faults ask for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use kthena_wire::sampling::StreamOptions;
use kthena_wire::sse;

use super::bodies::{self, Counts, Tail};
use super::generate::Generation;
use super::respond::{Answer, Broken};
use crate::core::TokenEvent;
use crate::faults::StreamFate;

/// What kind of chunks a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    Chat,
    Completion,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Nothing will come any more, and no end either.
    Stalled,
    /// What was sent is on its way; the break is next.
    Breaking,
    Broken,
    Ended,
}

#[derive(Debug)]
pub(crate) struct TokenStream {
    generation: Generation,
    kind: StreamKind,
    options: StreamOptions,
    fate: StreamFate,
    state: State,
    opened: bool,
    chunks: u32,
    json: Vec<u8>,
}

/// The answer that carries `generation` as a stream.
pub(crate) fn answer(
    generation: Generation,
    kind: StreamKind,
    options: Option<StreamOptions>,
    fate: StreamFate,
) -> Answer {
    let stream = TokenStream {
        generation,
        kind,
        options: options.unwrap_or_default(),
        fate,
        state: State::Running,
        opened: false,
        chunks: 0,
        json: Vec::with_capacity(512),
    };
    let mut answer = Response::new(stream.boxed_unsync());
    *answer.status_mut() = StatusCode::OK;
    let value = HeaderValue::from_static("text/event-stream; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

impl TokenStream {
    /// Appends the chunks a token makes. True when the answer is complete.
    fn encode(&mut self, event: TokenEvent, out: &mut BytesMut) -> bool {
        let complete = self.generation.book(event);
        if !self.opened {
            self.opened = true;
            self.open_choices(out);
        }
        let prompt = self.generation.counts.prompt;
        let choice = &mut self.generation.choices[event.choice as usize];
        let usage = self.options.continuous_usage_stats.then_some(Counts {
            prompt,
            completion: choice.tokens() + 1,
            ..Counts::default()
        });
        let piece = choice.advance(event);
        let tail = Tail {
            usage,
            last: piece.end.is_some() && !self.options.include_usage,
        };
        self.json.clear();
        let head = &self.generation.head;
        match self.kind {
            StreamKind::Chat => bodies::chat_chunk(&mut self.json, head, &piece, tail),
            StreamKind::Completion => bodies::completion_chunk(&mut self.json, head, &piece, tail),
        }
        self.put(out);
        complete
    }

    /// Chat streams start with a chunk per choice that has only a role.
    fn open_choices(&mut self, out: &mut BytesMut) {
        if self.kind != StreamKind::Chat {
            return;
        }
        let usage = self.options.continuous_usage_stats.then_some(Counts {
            prompt: self.generation.counts.prompt,
            ..Counts::default()
        });
        for index in 0..self.generation.choices.len() as u32 {
            self.json.clear();
            let tail = Tail { usage, last: false };
            bodies::chat_open(&mut self.json, &self.generation.head, index, tail);
            self.put(out);
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.options.include_usage {
            self.json.clear();
            let chat = self.kind == StreamKind::Chat;
            let counts = self.generation.counts;
            bodies::usage_chunk(&mut self.json, &self.generation.head, chat, counts);
            self.put(out);
        }
        out.extend_from_slice(sse::DONE);
        self.state = State::Ended;
    }

    fn put(&mut self, out: &mut BytesMut) {
        sse::encode(out, &self.json);
        self.chunks += 1;
        match self.fate {
            StreamFate::Stall(after) if self.chunks >= after => self.state = State::Stalled,
            StreamFate::Reset(after) if self.chunks >= after => self.state = State::Breaking,
            _ => {}
        }
    }
}

impl Body for TokenStream {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.state {
            State::Running => {}
            // Only the client can end this; the dropped stream then ends the request.
            State::Stalled => return Poll::Pending,
            State::Breaking => {
                // A break right away could overtake the chunks before it.
                self.state = State::Broken;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::Broken => return Poll::Ready(Some(Err(Broken))),
            State::Ended => return Poll::Ready(None),
        }
        let mut out = BytesMut::new();
        let mut next = ready!(self.generation.events.poll_recv(context));
        // Tokens that came out together leave together.
        loop {
            let Some(event) = next else {
                self.state = State::Ended;
                return Poll::Ready(Some(Err(Broken)));
            };
            let complete = self.encode(event, &mut out);
            if self.state != State::Running {
                break;
            }
            if complete {
                self.close(&mut out);
                break;
            }
            match self.generation.events.try_recv() {
                Ok(event) => next = Some(event),
                Err(_) => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(out.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}
