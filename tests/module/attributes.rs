//! What the log says of headers that a user's attributes set.

use proxy_wasm_testkit::{LogLevel, World};
use serde_json::{Value, json};

use super::fixture::{
    basic, configuration, get, granted, observed, passed_as, send_and_answer, token_with, worker, world,
};

#[test]
fn a_name_that_a_client_can_send_too_is_warned_of_once() {
    let world = world();
    let mut configuration = configuration("hs");
    configuration["owned_headers"] = json!(["X-Tenant"]);
    let mut vm = worker(&world, &configuration);
    let user = |name: &str, additional: Value| {
        let attributes = json!({"user_attributes": {"additionalHeaders": additional}});
        token_with("hs", json!({"preferred_username": name, "ak_proxy": attributes}))
    };
    let secret = "a-value-of-the-attributes";
    let additional =
        json!({"X-Team": secret, "X-Tenant": secret, "X-Authentik-Tier": secret, "Host": secret});
    for name in ["alice", "bob"] {
        for _ in 0..2 {
            let stream = vm.send(get(format!("Bearer {}", user(name, additional.clone()))));
            assert_eq!(observed(&vm, stream), passed_as(name));
        }
    }
    let password = basic("carol", "password");
    let token = user("carol", json!({"X-Team": secret, "X-Place": secret}));
    send_and_answer(&mut vm, get(password), granted(token));
    let warned = |world: &World| -> Vec<String> {
        let lines = world.log().into_iter().filter(|line| line.text.contains("additionalHeaders"));
        lines.inspect(|line| assert_eq!(line.level, LogLevel::Warn)).map(|line| line.text).collect()
    };
    let line = |name: &str| {
        format!("additionalHeaders sets {name}, which owned_headers does not have: a client can send it too")
    };
    assert_eq!(warned(&world), [line("x-team"), line("x-place")]);
    assert!(world.log().iter().all(|line| !line.text.contains(secret)));
}
