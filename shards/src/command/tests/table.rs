//! The table of commands and what it says of itself.

use super::*;

#[test]
fn commands_tell_of_themselves() {
    check(
        "COMMAND GETKEYS MSET a 1 b 2 => *2 $1 a $1 b
         COMMAND GETKEYS GET a => *1 $1 a
         COMMAND GETKEYS OBJECT ENCODING a => *1 $1 a
         COMMAND GETKEYS PING => -ERR The command has no key arguments
         COMMAND GETKEYS NOPE a => -ERR Invalid command specified
         COMMAND GETKEYS GET a b => -ERR Invalid number of arguments specified for command
         COMMAND INFO nope => *1 $-1
         COMMAND INFO get => *1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0
         COMMAND LIST FILTERBY PATTERN get* => *5 $3 get $6 getdel $5 getex $8 getrange $6 getset
         COMMAND DOCS get => *2 $3 get *10 $7 summary $27 Returns the value of a key. $5 since $5 1.0.0 $5 group $6 string $10 complexity $4 O(1) $9 arguments *1 *6 $4 name $3 key $4 type $3 key $12 display_text $3 key",
    );
}

#[test]
fn every_command_is_found_in_any_case_and_refuses_wrong_numbers_of_arguments() {
    for spec in COMMANDS {
        assert!(!spec.summary.is_empty() && !spec.since.is_empty(), "{}", spec.name);
        assert_eq!(spec.number(), COMMANDS.iter().position(|s| s.name == spec.name).unwrap());
        if spec.is_subcommand {
            assert!(lookup(spec.name.as_bytes()).is_none());
            continue;
        }
        let upper = spec.name.to_uppercase();
        assert_eq!(lookup(upper.as_bytes()).map(|s| s.name), Some(spec.name));
        if spec.arity > 0 {
            let line = vec![upper.as_str(); spec.arity as usize + 1].join(" ");
            let mut client = Client::new(Settings::default());
            let code = match spec.name {
                "exec" => "EXECABORT Transaction discarded because of:",
                _ => "ERR",
            };
            let expect = format!("-{code} wrong number of arguments for '{}' command", spec.name);
            assert_eq!(client.say(&line), expect);
        }
    }
    assert!(lookup(b"").is_none() && lookup(&[b'x'; 300]).is_none());
    assert_eq!(Protocol::default(), Protocol::Resp2);
}
