//! The HTML page in a real browser: its script runs to the end, draws, zooms and filters.

use std::path::{Path, PathBuf};
use std::process::Command;

use meshbed_report::html;

use crate::sample;

/// Milliseconds of the page's own clock that the browser lets pass; it does not wait for them.
const VIRTUAL_TIME: &str = "--virtual-time-budget=3000";

/// Plays a user, one frame after another, and leaves what it saw in attributes of the body.
///
/// Its timers are of the page's own clock, which the browser turns on as soon as nothing else is to be done, so that
/// they cost no time. A browser without a window draws one frame only; `FRAMES` makes the others.
const USER: &str = r##"<script>
(async () => {
  const frame = () => new Promise(resolve => setTimeout(resolve, 100));
  const seen = document.body.dataset, chart = document.getElementById("timeline");
  const visible = () => document.querySelectorAll(".lines li:not([hidden])").length;
  await frame();
  seen.whole = seen.drawn;
  seen.lines = visible();
  chart.focus();
  for (let press = 0; press < 3; press++) chart.dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
  await frame();
  seen.keys = seen.drawn;
  const box = chart.getBoundingClientRect(), clientX = box.left + box.width * 0.6, clientY = box.top + 60;
  for (let turn = 0; turn < 12; turn++)
    chart.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, clientX, clientY, cancelable: true }));
  await frame();
  seen.wheel = seen.drawn;
  seen.dots = document.querySelectorAll("g.panel path.dot").length;
  chart.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
  seen.tip = document.getElementById("tip").textContent;
  document.querySelector("[data-zoom=all]").click();
  const search = document.querySelector(".filter input[type=search]");
  search.value = "no such text";
  search.dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
  seen.filtered = visible();
  document.querySelector("#timeline a[href^='#line-'] path").dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  seen.hits = document.querySelectorAll(".lines li.hit:not([hidden])").length;
  seen.back = seen.drawn;
  seen.user = "done";
})().catch(error => { document.body.dataset.error = `the test's own script: ${error}`; });
</script></body>"##;

/// Frames by the page's own clock.
const FRAMES: &str = "<script>window.requestAnimationFrame = draw => setTimeout(draw, 16);</script></head>";

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("cargo's folder for tests can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Chromium's last child may still write its profile: a folder that stays is no failure.
        let _ignored = std::fs::remove_dir_all(&self.0);
    }
}

/// The document after its scripts have run.
fn opened(name: &str, page: &str) -> String {
    let folder = Folder::new(name);
    let file = folder.0.join("page.html");
    std::fs::write(&file, page).expect("cargo's folder for tests can be written");
    let output = Command::new("chromium")
        .args(["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"])
        // The page is our own, and root may not use the sandbox.
        .arg("--no-sandbox")
        .args(["--disable-background-networking", "--disable-component-update", "--disable-extensions"])
        .args(["--window-size=1300,2000", VIRTUAL_TIME, "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.0.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("this test needs the program `chromium`: `just setup` installs it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "chromium: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("a document is UTF-8")
}

/// An attribute of the body.
fn attribute<'d>(document: &'d str, name: &str) -> Option<&'d str> {
    let (_, rest) = document.split_once("<body")?;
    let (body, _) = rest.split_once('>')?;
    let (_, value) = body.split_once(&format!(" data-{name}=\""))?;
    Some(value.split_once('"')?.0)
}

/// Start and end of a stretch of time such as `0-3.872`.
fn stretch(document: &str, name: &str) -> (f64, f64) {
    let text = attribute(document, name).unwrap_or_else(|| panic!("no data-{name} on the body"));
    let (from, until) = text.split_once('-').expect("two times");
    (from.parse().expect("a time"), until.parse().expect("a time"))
}

#[test]
fn the_script_of_a_page_runs_to_its_end() {
    let document = opened("as-it-is", &html::report(&sample::passed(200)).expect("a sample is rendered"));
    assert_eq!(attribute(&document, "error"), None, "an error in the script");
    assert!(attribute(&document, "drawn").is_some(), "the script came to the end of its first drawing");
    assert!(document.contains("<g class=\"panel\""), "the plot is there");
    assert!(document.contains("<path class=\"area c0\" d=\"M"), "and something is drawn in it");
}

#[test]
fn an_error_in_the_script_is_noticed() {
    let page = html::report(&sample::passed(200)).expect("a sample is rendered");
    // Without its axis, the script cannot draw.
    let document = opened("broken", &page.replace("id=\"ticks\"", "id=\"lost\""));
    assert!(attribute(&document, "error").is_some(), "the tests above look at what says so");
}

#[test]
fn a_page_without_a_run_has_no_error() {
    let document = opened("empty", &html::report(&sample::environment()).expect("a sample is rendered"));
    assert_eq!(attribute(&document, "error"), None, "an error in the script");
}

#[test]
fn the_page_zooms_and_filters() {
    let page = html::report(&sample::failed(200)).expect("a sample is rendered");
    let document = opened("user", &page.replace("</head>", FRAMES).replace("</body>", USER));
    assert_eq!(attribute(&document, "error"), None, "an error in a script");
    assert_eq!(attribute(&document, "user"), Some("done"), "the scripts ran to their end");

    let (whole, keys, wheel) = (stretch(&document, "whole"), stretch(&document, "keys"), stretch(&document, "wheel"));
    let width = |(from, until): (f64, f64)| until - from;
    assert_eq!(whole.0, 0.0);
    assert!((width(keys) - width(whole) / 8.0).abs() < 0.01, "three presses of + show an eighth: {keys:?}");
    assert!(width(wheel) < width(keys) / 10.0, "the wheel zooms in: {wheel:?}");
    assert_ne!(attribute(&document, "dots"), Some("0"), "single requests are drawn when there are few");
    assert!(attribute(&document, "tip").is_some_and(|tip| tip.contains(" s")), "the pointer's time is shown");
    assert_eq!(stretch(&document, "back"), whole, "`all` shows all");

    assert_ne!(attribute(&document, "lines"), Some("0"));
    assert_eq!(attribute(&document, "filtered"), Some("0"), "nothing has that text");
    assert_eq!(attribute(&document, "hits"), Some("1"), "a mark leads to its line, whatever the filter was");
}
