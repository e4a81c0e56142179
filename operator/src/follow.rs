//! One task per job, which goes on while the plans for the job say the same and ends with them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, task::JoinHandle};

/// The tasks of many jobs, by uid. A task is told `News` for as long as `What` stays the same; something else is another task's.
pub(crate) struct Followers<What, News> {
    followed: Mutex<HashMap<String, Followed<What, News>>>,
}

/// What is being followed, until this is dropped.
struct Followed<What, News> {
    what: What,
    news: watch::Sender<News>,
    task: JoinHandle<()>,
}

// === impl Followers ===

impl<What, News> Default for Followers<What, News> {
    fn default() -> Self {
        Self { followed: Mutex::default() }
    }
}

impl<What: PartialEq, News: PartialEq> Followers<What, News> {
    /// Follows this for a job, and nothing else. The task that follows the same goes on with the news; otherwise `start` makes another.
    pub(crate) fn follow<Task>(
        &self,
        uid: &str,
        what: What,
        news: News,
        start: impl FnOnce(watch::Receiver<News>) -> Task,
    ) where
        Task: Future<Output = ()> + Send + 'static,
    {
        let mut followed = self.followed();
        if let Some(one) = followed.get(uid).filter(|one| one.what == what) {
            one.news.send_if_modified(|before| {
                let other = *before != news;
                *before = news;
                other
            });
            return;
        }
        let (sender, receiver) = watch::channel(news);
        let task = tokio::spawn(start(receiver));
        followed.insert(uid.to_owned(), Followed { what, news: sender, task });
    }

    /// Follows nothing for a job.
    pub(crate) fn leave(&self, uid: &str) {
        self.followed().remove(uid);
    }

    /// Follows nothing for all jobs but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.followed().retain(|uid, _| uids.contains(uid));
    }

    /// Tasks that go on.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.followed().values().filter(|one| !one.task.is_finished()).count()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Followed<What, News>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Followed ===

impl<What, News> Drop for Followed<What, News> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    /// Tells its name and every news.
    async fn telling(
        name: &'static str,
        mut news: watch::Receiver<u32>,
        told: mpsc::UnboundedSender<(&'static str, u32)>,
    ) {
        loop {
            let one = *news.borrow_and_update();
            told.send((name, one)).unwrap();
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_task_hears_of_news_until_another_is_followed() {
        let followers = Followers::default();
        let (sender, mut told) = mpsc::unbounded_channel();
        let mut next = async || timeout(Duration::from_secs(10), told.recv()).await.unwrap();
        for (what, news) in [("a", 1), ("a", 2), ("b", 2)] {
            followers.follow("uid", what, news, |receiver| telling(what, receiver, sender.clone()));
            assert_eq!(next().await, Some((what, news)));
        }
        // The same once more is no news.
        followers.follow("uid", "b", 2, |receiver| telling("c", receiver, sender.clone()));
        followers.follow("uid", "b", 3, |receiver| telling("c", receiver, sender.clone()));
        assert_eq!(next().await, Some(("b", 3)));
        followers.follow("other", "a", 1, |receiver| telling("a", receiver, sender.clone()));
        assert_eq!(next().await, Some(("a", 1)));
        assert_eq!(followers.count(), 2);
        followers.retain(&HashSet::from(["other".to_owned()]));
        followers.leave("other");
        drop(sender);
        assert_eq!((next().await, followers.count()), (None, 0));
    }
}
