//! Documents of operators: whatever they are, there is a configuration or there are errors.

use controlplane::load_text;

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
