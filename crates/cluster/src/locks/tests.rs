//! Queues, cycles and downgrades of locks.

#![allow(clippy::unwrap_used)] // tests
use super::*;

const A: Resource = Resource::Row(ShardId(1), RowId(1));
const B: Resource = Resource::Row(ShardId(1), RowId(2));

async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(20), future).await.ok()
}

#[tokio::test]
async fn the_queue_is_first_in_first_out_and_shared_holders_come_in_together() {
    let locks = Arc::new(Locks::default());
    let (mut first, mut second, mut third, mut fourth) =
        (locks.new_set(0), locks.new_set(0), locks.new_set(0), locks.new_set(0));
    assert!(!first.acquire([A], Mode::Shared, None).await.unwrap());
    assert!(!second.acquire([A], Mode::Shared, None).await.unwrap());
    let mut third_waits = Box::pin(third.acquire([A], Mode::Exclusive, None));
    assert!(soon(&mut third_waits).await.is_none());
    // A shared lock would fit with the holders but must not overtake.
    let mut fourth_waits = Box::pin(fourth.acquire([A], Mode::Shared, None));
    assert!(soon(&mut fourth_waits).await.is_none());
    drop(first);
    assert!(soon(&mut third_waits).await.is_none());
    drop(second);
    assert!(soon(&mut third_waits).await.unwrap().unwrap());
    drop(third_waits);
    assert!(soon(&mut fourth_waits).await.is_none());
    drop(third);
    assert!(soon(&mut fourth_waits).await.unwrap().unwrap());
    drop(fourth_waits);
    drop(fourth);
    assert!(locks.is_empty());
}

#[tokio::test]
async fn an_upgrade_goes_ahead_of_the_queue_and_two_upgrades_are_a_deadlock() {
    let locks = Arc::new(Locks::default());
    let (mut first, mut second) = (locks.new_set(0), locks.new_set(0));
    first.acquire([A], Mode::Shared, None).await.unwrap();
    second.acquire([A], Mode::Shared, None).await.unwrap();
    let mut upgrade = Box::pin(first.acquire([A], Mode::Exclusive, None));
    assert!(soon(&mut upgrade).await.is_none());
    let error = second.acquire([A], Mode::Exclusive, None).await.unwrap_err();
    assert_eq!(error.state(), SqlState::DEADLOCK_DETECTED);
    drop(second);
    assert!(soon(&mut upgrade).await.unwrap().unwrap());
    drop(upgrade);
    assert!(first.holds(A, Mode::Exclusive));
    drop(first);
    assert!(locks.is_empty());
}

#[tokio::test]
async fn a_cycle_of_three_is_found_by_who_closes_it() {
    let locks = Arc::new(Locks::default());
    let c = Resource::Key(IndexId(1), 9);
    let (mut first, mut second, mut third) = (locks.new_set(0), locks.new_set(0), locks.new_set(0));
    first.acquire([A], Mode::Exclusive, None).await.unwrap();
    second.acquire([B], Mode::Exclusive, None).await.unwrap();
    third.acquire([c], Mode::Exclusive, None).await.unwrap();
    let mut first_waits = Box::pin(first.acquire([B], Mode::Exclusive, None));
    assert!(soon(&mut first_waits).await.is_none());
    let mut second_waits = Box::pin(second.acquire([c], Mode::Exclusive, None));
    assert!(soon(&mut second_waits).await.is_none());
    let error = third.acquire([A], Mode::Exclusive, None).await.unwrap_err();
    assert_eq!((error.state().code(), error.message()), ("40P01", "deadlock detected"));
    assert_eq!(error.detail().unwrap().lines().count(), 3);
    drop(third);
    assert!(soon(&mut second_waits).await.unwrap().unwrap());
    drop(second_waits);
    drop(second);
    assert!(soon(&mut first_waits).await.unwrap().unwrap());
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_no_trace() {
    let locks = Arc::new(Locks::default());
    let (mut first, mut second, mut third) = (locks.new_set(0), locks.new_set(0), locks.new_set(0));
    first.acquire([A], Mode::Shared, None).await.unwrap();
    let limit = Some(Duration::from_millis(5));
    let error = second.acquire([B, A], Mode::Exclusive, limit).await.unwrap_err();
    assert_eq!(error.state(), SqlState::LOCK_NOT_AVAILABLE);
    // Nobody is left in the queue to wait behind.
    assert!(!third.acquire([A], Mode::Shared, None).await.unwrap());
    assert!(second.holds(B, Mode::Exclusive) && !second.holds(A, Mode::Shared));
    // A wait that is dropped after it was granted frees the lock with its set.
    let mut fourth = locks.new_set(0);
    {
        let mut waits = Box::pin(fourth.acquire([A], Mode::Exclusive, None));
        assert!(soon(&mut waits).await.is_none());
        drop((first, third));
    }
    drop((second, fourth));
    assert!(locks.is_empty());
}

#[tokio::test]
async fn a_session_waits_with_all_its_sets() {
    let locks = Arc::new(Locks::default());
    let (mut session, mut txn) = (locks.new_set(1), locks.new_set(1));
    let mut other = locks.new_set(2);
    session.acquire([A], Mode::Exclusive, None).await.unwrap();
    other.acquire([B], Mode::Exclusive, None).await.unwrap();
    let mut waits = Box::pin(txn.acquire([B], Mode::Exclusive, None));
    assert!(soon(&mut waits).await.is_none());
    assert_eq!(locks.blockers(1), [2]);
    assert_eq!(locks.list().iter().filter(|lock| !lock.granted).count(), 1);
    let error = other.acquire([A], Mode::Shared, None).await.unwrap_err();
    assert_eq!(error.state(), SqlState::DEADLOCK_DETECTED);
    assert!(error.detail().unwrap().starts_with("Process 2 waits for ShareLock on transaction 1;"));
}

#[tokio::test]
async fn a_downgrade_lets_sharers_in() {
    let locks = Arc::new(Locks::default());
    let (mut first, mut second) = (locks.new_set(1), locks.new_set(2));
    first.acquire([A], Mode::Exclusive, None).await.unwrap();
    let mut waits = Box::pin(second.acquire([A], Mode::Shared, None));
    assert!(soon(&mut waits).await.is_none());
    first.downgrade(A);
    assert!(soon(&mut waits).await.unwrap().unwrap());
    drop(waits);
    assert!(first.holds(A, Mode::Shared) && !first.holds(A, Mode::Exclusive));
    first.release(A);
    assert!(second.try_acquire(A, Mode::Exclusive));
}
