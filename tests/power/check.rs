//! What must hold of a store after a power cut.

use super::device::{Device, FileSystem};
use super::harness::{Lath, busybox};
use super::medium::Blocks;
use super::session::{BASES, Event, LASTING, NAMELESS, Session, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Starts the machine again with this disk after a cut at that place, and looks.
pub fn holds(
    lath: &Lath,
    device: &Device,
    system: &FileSystem,
    session: &Session,
    at: usize,
    disk: Blocks,
) -> Result<(), String> {
    device.file.set(disk);
    let mounted = device.mount(system)?;
    let store = Store { lath, mounted: mounted.path() };
    let past = Past::of(session, at);
    past.hold(&store).map_err(|what| format!("{what}\n{}", past.tell()))?;
    mounted.unmount()
}

/// The session as far as the cut.
struct Past<'a> {
    session: &'a Session,
    /// The last command that said that it was done.
    done: Option<&'a Event>,
    /// The command that was at work.
    at_work: Option<&'a Event>,
}

impl<'a> Past<'a> {
    fn of(session: &'a Session, at: usize) -> Past<'a> {
        let done = session.events.iter().rfind(|event| event.ended <= at);
        let at_work = session.events.iter().find(|event| event.began <= at && at < event.ended);
        Past { session, done, at_work }
    }

    fn tell(&self) -> String {
        let words = |event: Option<&Event>| event.map_or("-".into(), |event| event.words.join(" "));
        format!("done: {}; at work: {}", words(self.done), words(self.at_work))
    }

    fn hold(&self, store: &Store<'_>) -> Result<(), String> {
        let published = records(&store.root());
        clean(store)?;
        self.images_are_there(store)?;
        self.volumes_are_there(store)?;
        self.containers_are_there(store)?;
        self.next_build_works(store, &published)?;
        clean(store)?;
        match fs::read_dir(store.root().join("tmp")).map(Iterator::count) {
            Ok(0) => Ok(()),
            other => Err(format!("tmp was not swept: {other:?}")),
        }
    }

    /// All images that were there are, nothing else is, and each is what it was.
    fn images_are_there(&self, store: &Store<'_>) -> Result<(), String> {
        let listed = store.images();
        if listed.code != 0 {
            return Err(listed.to_string());
        }
        let seen: BTreeSet<&str> = listed.stdout.lines().collect();
        let none = BTreeSet::new();
        let before = self.done.map_or(&none, |event| &event.images);
        let after = self.at_work.map_or(before, |event| &event.images);
        let differs = |what: &str, line: &str| {
            Err(format!("{what}: {line}\nbefore {before:?}\nafter {after:?}\nseen {seen:?}"))
        };
        let ids: BTreeSet<&str> = before.union(after).filter_map(|line| id_of(line)).collect();
        for line in &seen {
            let is_known = before.contains(*line) || after.contains(*line);
            // Its name comes after the image, and goes before it.
            let is_between = self.at_work.is_some()
                && line.starts_with(NAMELESS)
                && id_of(line).is_some_and(|id| ids.contains(id));
            if !is_known && !is_between {
                return differs("not of this session", line);
            }
        }
        let (names_before, names_after) = (names(before), names(after));
        for name in names_before.intersection(&names_after).filter(|name| **name != NAMELESS) {
            let count = seen.iter().filter(|line| line.split(' ').next() == Some(name)).count();
            if count != 1 {
                return differs(&format!("{count} of this name"), name);
            }
        }
        for line in before.intersection(after) {
            if !seen.contains(line.as_str()) {
                return differs("lost", line);
            }
        }
        let seen_ids: BTreeSet<&str> = seen.iter().filter_map(|line| id_of(line)).collect();
        for id in seen_ids {
            let archive = store.archive(id)?;
            if self.session.archives.get(id) != Some(&archive) {
                return Err(format!("the image {id} has changed"));
            }
        }
        Ok(())
    }

    /// All containers that were there are, nothing else is, each can be started, and those that
    /// ran and shall run do so again. Then they go.
    fn containers_are_there(&self, store: &Store<'_>) -> Result<(), String> {
        let none = BTreeSet::new();
        let before = self.done.map_or(&none, |event| &event.containers);
        let after = self.at_work.map_or(before, |event| &event.containers);
        let listed = store.containers();
        let seen: BTreeSet<_> = listed.stdout.lines().map(str::to_owned).collect();
        let is_known = |line: &String| before.contains(line) || after.contains(line);
        let ids = |lines: &BTreeSet<String>| -> BTreeSet<String> {
            lines.iter().filter_map(|line| id_of(line)).map(str::to_owned).collect()
        };
        let stay: BTreeSet<_> = ids(before).intersection(&ids(after)).cloned().collect();
        let is_whole = seen.iter().all(is_known) && stay.is_subset(&ids(&seen));
        if listed.code != 0 || !is_whole {
            return Err(format!("containers {listed}\nbefore {before:?}\nafter {after:?}"));
        }
        let all = store.run(&["start", "--all"]);
        if all.code != 0 {
            return Err(all.to_string());
        }
        let running = store.run(&["ps", "--format", "{{.Names}}"]);
        for line in seen {
            let name = line.split(' ').next().unwrap_or_default();
            // Of one that is just made nothing is promised yet.
            let is_wanted = name.starts_with(LASTING) && before.contains(&line);
            if is_wanted && !running.stdout.lines().any(|running| running == name) {
                return Err(format!("{name} does not run again: {running}"));
            }
            let started = store.run(&["start", name]);
            let stopped = store.run(&["rm", "-f", name]);
            if started.code + stopped.code != 0 {
                return Err(format!("{started}{stopped}"));
            }
        }
        Ok(())
    }

    /// All volumes that were there are, nothing else is, and what filled them is whole.
    fn volumes_are_there(&self, store: &Store<'_>) -> Result<(), String> {
        let none = BTreeMap::new();
        let before = self.done.map_or(&none, |event| &event.volumes);
        let after = self.at_work.map_or(before, |event| &event.volumes);
        let seen = store.volumes()?;
        // It has one that nobody will have seen.
        let is_between = |name: &str| self.at_work.is_some() && name.len() == 64;
        let is_known = seen
            .keys()
            .all(|name| before.contains_key(name) || after.contains_key(name) || is_between(name));
        let stays = |name: &String| !after.contains_key(name) || seen.contains_key(name);
        if !is_known || !before.keys().all(stays) {
            return Err(format!("volumes {seen:?}\nbefore {before:?}\nafter {after:?}"));
        }
        for name in seen.keys() {
            let folder = store.root().join("volumes").join(name);
            let data = folder.join("data");
            let is_filled = [before, after].iter().all(|then| then.get(name) == Some(&true));
            // One that is being filled is not whole, and says so.
            let is_whole = !folder.join("filling").exists() && data.join("busybox").exists();
            let is_partial = !is_whole && !folder.join("filling").exists() && seen[name];
            if is_partial || is_filled && !is_whole {
                return Err(format!("the volume {name} is not whole"));
            }
            let found = fs::read(data.join("busybox")).unwrap_or_default();
            if is_whole && found != fs::read(busybox().unwrap()).unwrap() {
                return Err(format!("what filled the volume {name} has changed"));
            }
        }
        Ok(())
    }

    /// What was at work can be done again, from the last step that was published; otherwise
    /// something new.
    fn next_build_works(
        &self,
        store: &Store<'_>,
        published: &BTreeSet<String>,
    ) -> Result<(), String> {
        let is_removing = self.at_work.is_some_and(|event| event.is_removal);
        let last = match self.at_work {
            Some(event) if event.build.is_some() => Some(event),
            _ => self.done.filter(|_| !is_removing),
        };
        let again = last.and_then(|event| Some((event, event.build.as_ref()?)));
        if let Some((event, build)) = again.filter(|(_, build)| !build.is_killed) {
            let done = store.run(&event.words);
            if done.code != i32::from(build.image.is_none()) {
                return Err(done.to_string());
            }
            if let Some(image) = &build.image
                && done.built() != image.trim_start_matches("sha256:")[..12]
            {
                return Err(format!("another image than {image}: {done}"));
            }
            let is_published = |step: &&String| published.contains(*step);
            let mut least = build.steps.iter().take_while(is_published).count();
            if self.at_work.is_none() {
                least = build.steps.len();
            }
            return match done.cached().len() {
                count if count < least => {
                    Err(format!("{count} steps from the cache in place of {least}: {done}"))
                }
                _ => Ok(()),
            };
        }
        let listed = store.images().stdout;
        if !BASES.iter().any(|base| listed.lines().any(|line| line.starts_with(base))) {
            store.run(&["load", "-q", "-i", "base0.tar"]);
        }
        let listed = store.images().stdout;
        let base = listed.lines().find(|line| line.starts_with("base"));
        let base = base.and_then(|line| line.split(' ').next()).ok_or("no base can be loaded")?;
        store.lath.write("next/Dockerfile", format!("FROM {base}\nRUN echo next > /next\n"));
        let built = store.run(&["build", "-t", "next", "next"]);
        let ran = store.run(&["run", "--rm", "next", "grep", "next", "/next"]);
        match built.code + ran.code {
            0 => Ok(()),
            _ => Err(format!("{built}{ran}")),
        }
    }
}

fn names(lines: &BTreeSet<String>) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line.split(' ').next()).collect()
}

fn id_of(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

fn clean(store: &Store<'_>) -> Result<(), String> {
    // Of what only spares work, and is not synced, there may be notes.
    let checked = store.run(&["fsck", "-q"]);
    match checked.code {
        0 => Ok(()),
        _ => Err(checked.to_string()),
    }
}

/// The short ids of the images that cache records lead to.
fn records(root: &Path) -> BTreeSet<String> {
    let folders = fs::read_dir(root.join("cache")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten());
    let mut found = BTreeSet::new();
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        let image = text.lines().find_map(|line| line.strip_prefix("image sha256:"));
        // The one of the layer alone is another key's.
        if !text.contains("\nof layer") {
            found.extend(image.map(|image| image[..12].to_owned()));
        }
    }
    found
}
