use super::restart::{Scene, restart};

#[test]
fn explore() {
    for per_second in [10, 40] {
        for bears in [20, 40] {
            for (replicas, workers) in [(1, 2), (3, 2), (5, 2), (10, 2), (15, 2)] {
                for max in [8, 1] {
                    let scene =
                        Scene { replicas, workers, users: 500, per_second, bears, max_concurrent_calls: max };
                    let start = std::time::Instant::now();
                    println!("{scene:?} {:?} {:?}", restart(scene, 600), start.elapsed());
                }
            }
        }
    }
}
