//! What to measure, as typed on the command line.

use std::time::Duration;

use crate::AnyError;

/// Who makes pods ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Player {
    /// kube-scheduler binds them, KWOK makes them ready.
    Kwok,
    /// This program writes their status.
    Status,
}

/// How much of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) servings: usize,
    /// Groups per serving.
    pub(crate) groups: usize,
    /// Worker pods per group, beside the entry pod.
    pub(crate) workers: usize,
    /// How long the controller may live; rollouts only.
    pub(crate) life: Duration,
    pub(crate) player: Player,
}

impl Arguments {
    pub(crate) fn fleet(words: &[String]) -> Result<Self, AnyError> {
        Ok(Self {
            servings: number(words, 0, 100)?,
            groups: number(words, 1, 10)?,
            workers: number(words, 2, 0)?,
            life: Duration::MAX,
            player: player(words.get(3))?,
        })
    }

    pub(crate) fn rollout(words: &[String]) -> Result<Self, AnyError> {
        Ok(Self {
            servings: number(words, 0, 100)?,
            groups: number(words, 1, 4)?,
            workers: number(words, 2, 1)?,
            life: Duration::from_secs(number(words, 3, 5)?.try_into()?),
            player: player(words.get(4))?,
        })
    }

    /// Pods of one group.
    pub(crate) fn group_size(&self) -> usize {
        1 + self.workers
    }

    /// Pods of all.
    pub(crate) fn pods(&self) -> usize {
        self.servings * self.groups * self.group_size()
    }
}

fn number(words: &[String], index: usize, default: usize) -> Result<usize, AnyError> {
    let word = words.get(index).map(|word| word.parse());
    Ok(word.transpose()?.unwrap_or(default))
}

fn player(word: Option<&String>) -> Result<Player, AnyError> {
    match word.map(String::as_str) {
        None | Some("kwok") => Ok(Player::Kwok),
        Some("status") => Ok(Player::Status),
        Some(other) => Err(format!("{other}: not kwok or status").into()),
    }
}
