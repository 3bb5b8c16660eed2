//! Batches of lines, and files that take only part of them.

#![forbid(unsafe_code)]

use super::*;
use std::sync::Mutex;

/// A file that can be looked at, with room for so many bytes.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>, Option<usize>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().unwrap();
        let room = self.1.map_or(usize::MAX, |all| all - text.len()).min(bytes.len());
        text.extend_from_slice(&bytes[..room]);
        if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page for Paper {
    fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        let mut text = self.0.lock().unwrap();
        let len = text.len() - bytes as usize;
        text.truncate(len);
        Ok(())
    }
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A pipe takes nothing back.
#[derive(Default)]
struct Pipe(Paper);

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page for Pipe {
    fn take_back(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

#[test]
fn what_is_full_has_whole_lines_and_the_others_are_counted() {
    let mut torn = false;
    let mut paper = Paper(Arc::default(), Some(5));
    let (whole, _) = write(&mut paper, b"a\nb\ncc\n", &mut torn).unwrap_err();
    assert_eq!((whole, torn), (2, false));
    assert_eq!(*paper.0.lock().unwrap(), b"a\nb\n");
    let mut pipe = Pipe(Paper(Arc::default(), Some(5)));
    let (whole, _) = write(&mut pipe, b"a\nb\ncc\n", &mut torn).unwrap_err();
    assert_eq!((whole, torn), (2, true));
    pipe.0.1 = None;
    write(&mut pipe, b"d\n", &mut torn).unwrap();
    assert_eq!(*pipe.0.0.lock().unwrap(), b"a\nb\nc\nd\n");
}

/// A pipe takes one byte of a line and no more; then this is opened. What is in it at the end.
#[track_caller]
fn after_a_torn_line(pipe: Pipe, next: Pipe) -> Vec<u8> {
    let text = next.0.0.clone();
    let (mut pens, writer, desk) = access_log(1).unwrap();
    let opened: Arc<AtomicU64> = Arc::default();
    let count = opened.clone();
    let mut files = [pipe, next].into_iter();
    let open = move || {
        count.fetch_add(1, Ordering::Release);
        Ok(files.next().unwrap())
    };
    let thread = std::thread::spawn(move || writer.run(open));
    let pass_on = |pen: &mut Pen, bytes: &[u8]| {
        let lines = Lines { bytes: bytes.to_vec(), count: 1 };
        pen.pass_on(Box::new(lines)).unwrap();
    };
    pass_on(&mut pens[0], b"torn\n");
    let wait_until = |done: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(5);
        while !done() && Instant::now() < end {
            std::thread::yield_now();
        }
    };
    wait_until(&|| pens[0].failed() > 0);
    desk.reopen();
    wait_until(&|| opened.load(Ordering::Acquire) == 2);
    pass_on(&mut pens[0], b"whole\n");
    desk.close();
    thread.join().unwrap();
    text.lock().unwrap().clone()
}

#[test]
fn a_torn_line_ends_in_its_own_file_and_nowhere_else() {
    let full = || Pipe(Paper(Arc::default(), Some(1)));
    assert_eq!(after_a_torn_line(full(), Pipe::default()), b"whole\n");
    let pipe = full();
    let emptied = Pipe(Paper(pipe.0.0.clone(), None));
    assert_eq!(after_a_torn_line(pipe, emptied), b"t\nwhole\n", "the same one, opened anew");
}

#[test]
fn batches_arrive_whole_and_in_order_and_their_memory_comes_back() {
    let (mut pens, writer, desk) = access_log(1).unwrap();
    let page = Paper::default();
    let thread = std::thread::spawn({
        let page = page.clone();
        move || writer.run(|| Ok(page.clone()))
    });
    let mut expect = Vec::new();
    let mut made = 0;
    for n in 0..2_000u32 {
        let mut lines = pens[0].blank();
        made += u32::from(lines.bytes.capacity() == 0);
        lines.bytes.extend_from_slice(format!("{n}\n").as_bytes());
        lines.count = 1;
        expect.extend_from_slice(&lines.bytes);
        while let Err(full) = pens[0].pass_on(lines) {
            lines = full;
            std::thread::yield_now();
        }
        if n % 100 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1)); // the writer sleeps
        }
    }
    desk.close();
    thread.join().unwrap();
    assert_eq!(*page.0.lock().unwrap(), expect);
    assert!(made <= 2 * BATCHES as u32 + 2, "{made} batches were made anew");
}

#[test]
fn a_batch_that_finds_no_room_comes_back() {
    let (mut pens, writer, desk) = access_log(1).unwrap();
    for _ in 0..BATCHES {
        pens[0].pass_on(Box::default()).unwrap();
    }
    assert!(pens[0].pass_on(Box::default()).is_err());
    desk.close();
    writer.run(|| Ok(Paper::default()));
    assert!(pens[0].pass_on(Box::default()).is_ok(), "there is room again");
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let (mut pens, writer, desk) = access_log(1).unwrap();
    let lines = Lines { bytes: b"a\nb\n".to_vec(), count: 2 };
    pens[0].pass_on(Box::new(lines)).unwrap();
    desk.close();
    writer.run(|| Err::<Paper, _>(io::ErrorKind::PermissionDenied.into()));
    assert_eq!(pens[0].failed(), 2);
}
