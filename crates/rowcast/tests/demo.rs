//! The README's first command, as a program reads it. The demo judges itself by its CRM's request
//! log and fails when a count differs; here its answer is read once more.

mod terminal;
use terminal::Terminal;

#[test]
fn only_what_changed_is_sent_again() {
    let terminal = Terminal::new();
    let ran = terminal.run(".", "demo --json");
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let act = |i: usize| {
        let act = &told["acts"][i];
        ["written", "deleted", "refused", "requests"].map(|name| act[name].as_u64().unwrap())
    };
    assert_eq!(act(0), [99_997, 0, 3, 200]);
    let [written, deleted, refused, requests] = act(1);
    assert_eq!([written, deleted, refused], [1_243, 25, 0]);
    assert!(requests < 10, "{requests} requests for 1,268 changes");
    assert_eq!(act(2), [0, 0, 0, 0]);
    assert_eq!(told["contacts"], 100_015);
    // The project is kept, and its own test passes.
    let tested = terminal.run("rowcast-demo", "test");
    assert_eq!(tested.code, 0, "{}\n{}", tested.stdout, tested.stderr);
}
