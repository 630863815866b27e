//! As whom a process runs: names are looked up in the image's own passwd and group files, which
//! are hostile input; nothing of the image is executed for it.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::sys::fs::open_in_root;

/// Longer lines and larger files are not looked at.
const MAX_LINE: u64 = 64 << 10;
const MAX_FILE: u64 = 16 << 20;
/// The largest id that a process can have (man 2 setresuid: -1 means "unchanged").
const MAX_ID: u32 = (1 << 31) - 1;

/// A user, a group, other groups, a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, if the image names one.
    pub home: Option<String>,
}

#[cfg(feature = "containers")]
impl Identity {
    /// Adds a supplementary group, by its name in the image or its number.
    pub fn join(&mut self, root: BorrowedFd<'_>, group: &str) -> Result<()> {
        let id = match parse_id(group)? {
            Some(id) => id,
            None => find_group(root, group)?.ok_or_else(|| {
                Error::input(format!(
                    "unable to find group {group}: no matching entries in group file"
                ))
            })?,
        };
        if !self.groups.contains(&id) {
            self.groups.push(id);
        }
        Ok(())
    }
}

struct User {
    uid: u32,
    gid: u32,
    name: String,
    home: String,
}

impl Identity {
    /// Looks up `user[:group]` in an image. An empty text is root.
    pub fn resolve(root: BorrowedFd<'_>, text: &str) -> Result<Identity> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let number = parse_id(user)?;
        let found = find_user(root, user, number)?;
        let mut identity = match (&found, number) {
            (Some(found), _) => Identity {
                uid: found.uid,
                gid: found.gid,
                home: Some(found.home.clone()).filter(|home| !home.is_empty()),
                ..Identity::default()
            },
            (None, Some(uid)) => Identity { uid, ..Identity::default() },
            (None, None) => {
                return Err(Error::input(format!(
                    "unable to find user {user}: no matching entries in passwd file"
                )));
            }
        };
        match group.filter(|group| !group.is_empty()) {
            Some(group) => {
                let number = parse_id(group)?;
                identity.gid = match (find_group(root, group)?, number) {
                    (Some(gid), _) | (None, Some(gid)) => gid,
                    (None, None) => {
                        return Err(Error::input(format!(
                            "unable to find group {group}: no matching entries in group file"
                        )));
                    }
                };
            }
            // With a group of one's own choice the others are not taken, as docker does.
            None => {
                if let Some(user) = &found {
                    identity.groups = groups_of(root, &user.name)?;
                }
            }
        }
        if !identity.groups.contains(&identity.gid) {
            identity.groups.insert(0, identity.gid);
        }
        Ok(identity)
    }
}

/// A number that is an id; an error for one that cannot be (CVE-2024-40635: 2^32 is not 0).
pub fn parse_id(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(Error::input(format!("{text:?} is not a user or group id: 0 to {MAX_ID}"))),
    }
}

fn find_user(root: BorrowedFd<'_>, user: &str, number: Option<u32>) -> Result<Option<User>> {
    let mut by_number = None;
    let mut by_name = None;
    each_line(root, "etc/passwd", &mut |line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, uid, gid, _, home, ..] = fields.as_slice()
            && let (Ok(Some(uid)), Ok(Some(gid))) = (parse_id(uid), parse_id(gid))
        {
            let entry = || User { uid, gid, name: (*name).to_owned(), home: (*home).to_owned() };
            if *name == user {
                by_name = Some(entry());
                return false;
            }
            if by_number.is_none() && number == Some(uid) {
                by_number = Some(entry());
            }
        }
        true
    })?;
    Ok(by_name.or(by_number))
}

fn find_group(root: BorrowedFd<'_>, group: &str) -> Result<Option<u32>> {
    let mut found = None;
    each_line(root, "etc/group", &mut |line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, gid, ..] = fields.as_slice()
            && *name == group
            && let Ok(Some(gid)) = parse_id(gid)
        {
            found = Some(gid);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Looks up a group's id by its name in an image.
pub fn group_id(root: BorrowedFd<'_>, group: &str) -> Result<Option<u32>> {
    find_group(root, group)
}

fn groups_of(root: BorrowedFd<'_>, user: &str) -> Result<Vec<u32>> {
    let mut groups = Vec::new();
    each_line(root, "etc/group", &mut |line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [_, _, gid, members, ..] = fields.as_slice()
            && members.split(',').any(|member| member == user)
            && let Ok(Some(gid)) = parse_id(gid)
            && !groups.contains(&gid)
        {
            groups.push(gid);
        }
        // The kernel's own limit (NGROUPS_MAX).
        groups.len() < 65_536
    })?;
    Ok(groups)
}

/// Reads a file's lines, bounded; a file that is not there or no file has none.
fn each_line(root: BorrowedFd<'_>, path: &str, each: &mut dyn FnMut(&str) -> bool) -> Result<()> {
    // Not blocking: the image may have a fifo there.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(file) = open_in_root(root, path, flags, Mode::empty()) else { return Ok(()) };
    let stat = rustix::fs::fstat(&file)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Ok(());
    }
    let mut reader = BufReader::new(std::fs::File::from(file).take(MAX_FILE));
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') && !each(text) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn names_numbers_and_groups_are_looked_up_in_the_image() {
        let dir = std::env::temp_dir()
            .join(format!("lath-id-{}", crate::sys::fs::random_name().unwrap()));
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n+bad\n::::::\napp:x:1000:50::/home/app:/bin/sh\n";
        std::fs::write(dir.join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.join("etc/group"), "root:x:0:\nstaff:x:50:app\nwheel:x:10:root,app\n")
            .unwrap();
        let root = std::fs::File::open(&dir).unwrap();
        let get = |text: &str| Identity::resolve(root.as_fd(), text);
        let app = get("app").unwrap();
        assert_eq!((app.uid, app.gid, app.groups), (1000, 50, vec![50, 10]));
        assert_eq!(app.home.as_deref(), Some("/home/app"));
        assert_eq!(get("app:wheel").unwrap().groups, [10]);
        assert_eq!(get("1000").unwrap().gid, 50);
        let unknown = get("4321").unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.home), (4321, 0, None));
        assert_eq!(get("5:7").unwrap().gid, 7);
        assert_eq!(get("").unwrap().home.as_deref(), Some("/root"));
        for bad in ["nobody", "app:nogroup", "4294967296", "2147483648", "-1", "1:99999999999"] {
            assert!(get(bad).is_err(), "{bad}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
