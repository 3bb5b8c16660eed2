//! Documents of operators: whatever they are, there is a configuration, which can be served, or
//! there are errors.

use controlplane::load_text;
use dataplane::proxy::Endpoints;
use shards::settings::Settings;

/// See the module's text.
pub fn manifests(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // YAML 1.2.2 section 5.4: a carriage return breaks a line, too.
    let breaks = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let lines = u32::try_from(breaks).expect("short") + 1;
    match load_text("file.yaml", &text, 1) {
        Ok(loaded) => {
            let again = load_text("file.yaml", &text, 1).expect("as before");
            assert!(loaded.snapshot.as_bytes() == again.snapshot.as_bytes(), "the same bytes");
            let ports: Vec<_> = loaded.snapshot.ports().map(|(_, number)| number).collect();
            let served = Endpoints::new(1).serve(loaded.snapshot, &ports);
            assert!(served.is_ok(), "what is valid is served: {}", served.unwrap_err());
            let applied = loaded.keyspace.apply(&mut Settings::default());
            assert_eq!(applied, Ok(()), "what is valid is a setting");
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "an error says what is wrong");
            let mut last = None;
            for fault in faults {
                assert!((1..=lines).contains(&fault.spot.line), "a place in the file: {fault}");
                assert!(!fault.text.contains('\n'), "one line: {fault}");
                assert!(last <= Some((fault.spot.line, fault.spot.column)), "in order: {fault}");
                last = Some((fault.spot.line, fault.spot.column));
            }
        }
    }
}
