//! How often a task runs, so that its CPU time stays a small share of the elapsed time.

use std::time::Duration;

/// The schedule of a task whose cost changes slowly. All times are since the same moment.
#[derive(Clone, Debug)]
pub struct Pace {
    shortest: Duration,
    /// The largest share of one processor.
    share: f64,
    due: Duration,
    cost: f64,
}

/// The weight of the latest cost in the mean. One disturbed run must not delay the next runs for long.
const WEIGHT: f64 = 0.25;

impl Pace {
    /// The task is due at once. Later the time between two runs is `shortest` or longer.
    pub fn new(shortest: Duration, share: f64, now: Duration) -> Self {
        Self { shortest, share, due: now, cost: 0.0 }
    }

    /// The time of the next run.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// The task ran: the time at which it began, and its CPU time.
    pub fn done(&mut self, began: Duration, cost: Duration) {
        let cost = cost.as_secs_f64();
        self.cost = if self.cost == 0.0 { cost } else { self.cost + WEIGHT * (cost - self.cost) };
        let affordable = Duration::try_from_secs_f64(self.cost / self.share).unwrap_or(Duration::MAX);
        self.due = began.saturating_add(self.shortest.max(affordable));
    }
}

/// The schedule of an expensive task whose cost can be estimated before. The task never exceeds its share of one processor.
#[derive(Clone, Debug)]
pub struct Budget {
    shortest: Duration,
    share: f64,
    since: Duration,
    spent: Duration,
    due: Duration,
}

impl Budget {
    /// The budget is empty at `since`.
    pub fn new(shortest: Duration, share: f64, since: Duration) -> Self {
        Self { shortest, share, since, spent: Duration::ZERO, due: since }
    }

    /// Whether the task is due and the budget has so much.
    pub fn allows(&self, now: Duration, cost: Duration) -> bool {
        now >= self.due && self.spent + cost <= now.saturating_sub(self.since).mul_f64(self.share)
    }

    /// The task ran: the time at which it began, and its CPU time.
    pub fn done(&mut self, began: Duration, cost: Duration) {
        self.due = began + self.shortest;
        self.spent += cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    #[test]
    fn what_is_cheap_is_done_at_the_shortest_interval() {
        let mut pace = Pace::new(20 * MS, 0.002, 5 * MS);
        assert_eq!(pace.due(), 5 * MS);
        pace.done(6 * MS, 10 * US);
        assert_eq!(pace.due(), 26 * MS);
    }

    #[test]
    fn what_is_dear_is_done_more_seldom_and_keeps_to_its_share() {
        let mut pace = Pace::new(20 * MS, 0.002, Duration::ZERO);
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        for round in 0..1000 {
            now = pace.due();
            let cost = (100 + round % 7 * 50) * US;
            spent += cost;
            pace.done(now, cost);
        }
        let share = spent.as_secs_f64() / now.as_secs_f64();
        assert!((0.0019..0.00205).contains(&share), "{share}");
    }

    #[test]
    fn one_disturbed_cost_is_soon_forgotten() {
        let mut pace = Pace::new(20 * MS, 0.002, Duration::ZERO);
        for cost in [10, 10, 10_000] {
            pace.done(pace.due(), cost * US);
        }
        for _ in 0..30 {
            pace.done(pace.due(), 10 * US);
        }
        let now = pace.due();
        pace.done(now, 10 * US);
        assert_eq!(pace.due(), now + 20 * MS);
    }

    #[test]
    fn a_budget_is_saved_up_before_it_is_spent() {
        let mut budget = Budget::new(Duration::from_secs(1), 0.002, 10 * MS);
        assert!(!budget.allows(11 * MS, 10 * US));
        assert!(!budget.allows(5009 * MS, 10 * MS));
        assert!(budget.allows(5010 * MS, 10 * MS));
        budget.done(5010 * MS, 10 * MS);
        assert!(!budget.allows(5020 * MS, US), "the interval");
        assert!(!budget.allows(6010 * MS, 10 * MS), "the share");
        assert!(budget.allows(6010 * MS, 2 * MS));
    }
}
