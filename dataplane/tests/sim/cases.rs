//! Small scenes in which something once went wrong, told request by request.

use super::client::{Client, Request};
use super::ending;
use super::resp;
use super::roles::Script;
use super::trace::Trace;
use super::world::World;

/// Sends requests at once, on a connection by its number, and says what was answered.
pub fn say(world: &mut World<'_>, client: usize, requests: &[&str]) -> Vec<String> {
    let mut asked = Vec::new();
    for words in requests {
        asked.push(Request::of(asked.len() as u32, words));
    }
    let script = Script::new(asked);
    let (answers, expected) = (script.answers.clone(), script.len());
    let role = Box::new(script);
    match world.clients.get_mut(client) {
        Some(known) => known.role = role,
        None => {
            let mut fresh = Client::new(client, role, &mut world.rng);
            fresh.connect(&mut world.node.net.borrow_mut());
            world.clients.push(fresh);
        }
    }
    ending::ask_all(world, client);
    world.run(|_| answers.borrow().len() == expected, false).unwrap();
    answers.borrow().iter().map(resp::render).collect()
}

/// UNWATCH, or DISCARD, and WATCH behind it in one turn: the farewell to the key's home once
/// overtook the new WATCH and ended it.
#[test]
fn watches_that_are_given_up_and_set_anew() {
    for key in 0..8 {
        let mut trace = Trace::new(false);
        let mut world = World::quiet(2, key, &mut trace);
        let key = format!("key:{key}");
        let watch = format!("WATCH {key}");
        let set = format!("SET {key} mine");
        assert_eq!(say(&mut world, 0, &[&watch]), ["+OK"]);
        for give_up in [&["UNWATCH"][..], &["MULTI", "DISCARD"]] {
            let requests: Vec<&str> = give_up.iter().copied().chain([watch.as_str()]).collect();
            say(&mut world, 0, &requests);
            say(&mut world, 1, &[&format!("SET {key} theirs")]);
            let answers = say(&mut world, 0, &["MULTI", &set, "EXEC", &watch]);
            let refused = ["*-1", "_"].contains(&answers[2].as_str());
            assert!(refused, "{key}: {answers:?}");
        }
    }
}
