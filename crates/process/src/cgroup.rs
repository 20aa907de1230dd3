//! The memory limits of a process's cgroups, and how near the usage is to them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A cgroup's memory usage and limit, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupUsage {
    /// The cgroup's folder.
    pub folder: PathBuf,
    /// The usage without the page cache that was not used recently, because the kernel can drop this cache at once.
    pub used: u64,
    /// The smallest limit.
    pub limit: u64,
}

/// A cgroup whose files cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupUnreadable {
    folder: PathBuf,
    why: String,
}

impl fmt::Display for CgroupUnreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot read the memory usage of the cgroup {}: {}; name the folder of a cgroup with the memory controller",
            self.folder.display(),
            self.why
        )
    }
}

impl std::error::Error for CgroupUnreadable {}

/// The files in a cgroup's folder, for both versions of cgroups (cgroup-v2.rst and cgroup-v1/memory.rst of the kernel).
struct Version {
    used: &'static str,
    limits: &'static [&'static str],
    inactive: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version { used: "memory.current", limits: &["memory.max", "memory.high"], inactive: "inactive_file " },
    Version {
        used: "memory.usage_in_bytes",
        limits: &["memory.limit_in_bytes"],
        inactive: "total_inactive_file ",
    },
];

/// Without a limit, version 1 has the greatest multiple of a page, and version 2 the word `max`.
const NO_LIMIT: u64 = 1 << 62;

/// The folders of the cgroups that count the process's memory: first the process's own cgroup, then each cgroup around it.
/// Each of them may have a limit. Empty if there are none.
pub fn memory_cgroups(pid: u32) -> Vec<PathBuf> {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroups_in(Path::new("/sys/fs/cgroup"), &membership)
}

/// The same for a mount point and the contents of `/proc/<pid>/cgroup` (cgroups(7)).
fn cgroups_in(root: &Path, membership: &str) -> Vec<PathBuf> {
    // A line is `number:controllers:path`.
    let path = |controller: &str| {
        let mut lines = membership.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        lines.find(|(names, _)| names.split(',').any(|name| name == controller)).map(|(_, path)| path)
    };
    // The memory controller is in version 1 or in version 2, not in both.
    let candidates = [(root.join("memory"), path("memory")), (root.to_owned(), path(""))];
    let folders = candidates.into_iter().filter_map(|(top, own)| {
        let own = top.join(own?.trim_start_matches('/'));
        // In a container, the path may be the host's, and the top folder is then the container's own cgroup.
        let around = own.ancestors().take_while(|folder| folder.starts_with(&top));
        let folders: Vec<_> = around.filter(|folder| version(folder).is_some()).map(Path::to_owned).collect();
        (!folders.is_empty()).then_some(folders)
    });
    folders.take(1).flatten().collect()
}

fn version(folder: &Path) -> Option<&'static Version> {
    VERSIONS.iter().find(|version| folder.join(version.used).exists())
}

/// The usage of the cgroup that is nearest to its limit, `None` if no cgroup has a limit. An unreadable cgroup does not hide
/// the others.
pub fn nearest_limit(folders: &[PathBuf]) -> (Option<CgroupUsage>, Vec<CgroupUnreadable>) {
    let mut errors = Vec::new();
    let usages = folders.iter().filter_map(|folder| {
        usage(folder).unwrap_or_else(|why| {
            errors.push(CgroupUnreadable { folder: folder.clone(), why });
            None
        })
    });
    let share = |usage: &CgroupUsage| usage.used as f64 / usage.limit as f64;
    let nearest = usages.reduce(|one, other| if share(&other) > share(&one) { other } else { one });
    (nearest, errors)
}

fn usage(folder: &Path) -> Result<Option<CgroupUsage>, String> {
    let Some(version) = version(folder) else {
        let names = VERSIONS.map(|version| version.used).join(" nor ");
        return Err(format!("it contains neither {names}"));
    };
    let read = |file: &str| fs::read_to_string(folder.join(file)).map_err(|error| format!("{file}: {error}"));
    // Not every kernel has all these files.
    let read_if_there = |file: &str| match fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{file}: {error}")),
    };
    let mut limit = u64::MAX;
    for file in version.limits {
        let text = read_if_there(file)?;
        limit = limit.min(text.map_or(Ok(u64::MAX), |text| bytes(file, &text))?);
    }
    if limit >= NO_LIMIT {
        return Ok(None);
    }
    let all = bytes(version.used, &read(version.used)?)?;
    let statistics = read_if_there("memory.stat")?.unwrap_or_default();
    let inactive = statistics.lines().find_map(|line| line.strip_prefix(version.inactive)?.parse().ok());
    let used = all.saturating_sub(inactive.unwrap_or(0));
    Ok(Some(CgroupUsage { folder: folder.to_owned(), used, limit }))
}

fn bytes(file: &str, text: &str) -> Result<u64, String> {
    match text.trim() {
        "max" => Ok(u64::MAX),
        number => number.parse().map_err(|_| format!("{file} contains {number:?} instead of a number")),
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A tree of files, which goes with the test.
    struct Tree(PathBuf);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Self {
            static TREES: AtomicU32 = AtomicU32::new(0);
            let number = TREES.fetch_add(1, Ordering::Relaxed);
            let root = env::temp_dir().join(format!("malloc-backend-cgroup-{}-{number}", process::id()));
            fs::create_dir_all(&root).expect("a folder of its own");
            for (file, text) in files {
                let file = root.join(file);
                fs::create_dir_all(file.parent().expect("it is in the folder")).expect("it is writable");
                fs::write(file, text).expect("it is writable");
            }
            Self(root)
        }

        fn folders(&self, membership: &str) -> Vec<PathBuf> {
            cgroups_in(&self.0, membership)
        }

        fn names(&self, membership: &str) -> Vec<String> {
            let folders = self.folders(membership);
            let name = |folder: &PathBuf| folder.strip_prefix(&self.0).expect("it is in the tree").to_owned();
            folders.iter().map(|folder| name(folder).to_string_lossy().into_owned()).collect()
        }

        fn usage(&self, membership: &str) -> Option<(u64, u64)> {
            let (usage, errors) = nearest_limit(&self.folders(membership));
            assert_eq!(errors, []);
            usage.map(|usage| (usage.used, usage.limit))
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn of_version_2_the_nearest_of_those_around_the_process() {
        let tree = Tree::new(&[
            ("system/service/memory.current", "500\n"),
            ("system/service/memory.max", "max\n"),
            ("system/service/memory.high", "1000\n"),
            ("system/service/memory.stat", "anon 300\ninactive_file 100\nactive_file 100\n"),
            ("system/memory.current", "900\n"),
            ("system/memory.max", "1800\n"),
            ("system/memory.stat", "inactive_file 0\n"),
        ]);
        let membership = "0::/system/service\n";
        assert_eq!(tree.names(membership), ["system/service", "system"]);
        assert_eq!(tree.usage(membership), Some((900, 1800)));
    }

    #[test]
    fn of_version_2_without_a_limit() {
        let tree = Tree::new(&[("memory.current", "500\n"), ("memory.max", "max\n")]);
        assert_eq!(tree.usage("0::/\n"), None);
    }

    #[test]
    fn of_version_1_with_the_other_controllers_elsewhere() {
        let tree = Tree::new(&[
            ("memory/a:b/memory.usage_in_bytes", "700\n"),
            ("memory/a:b/memory.limit_in_bytes", "1000\n"),
            ("memory/a:b/memory.stat", "inactive_file 5\ntotal_inactive_file 200\n"),
            ("memory/memory.usage_in_bytes", "800\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let membership = "9:cpu,cpuacct:/other\n4:memory:/a:b\n0::/\n";
        assert_eq!(tree.names(membership), ["memory/a:b", "memory"]);
        assert_eq!(tree.usage(membership), Some((500, 1000)));
    }

    #[test]
    fn in_a_container_where_the_path_is_the_hosts() {
        let tree = Tree::new(&[("memory/memory.usage_in_bytes", "1\n")]);
        assert_eq!(tree.names("4:memory:/docker/abc\n"), ["memory"]);
    }

    #[test]
    fn one_that_cannot_be_read_does_not_hide_the_others() {
        let tree = Tree::new(&[("memory.current", "500\n"), ("memory.max", "1000\n")]);
        let none = tree.0.join("none");
        let (usage, errors) = nearest_limit(&[none.clone(), tree.0.clone(), none]);
        assert_eq!(usage.map(|usage| (usage.used, usage.limit)), Some((500, 1000)));
        let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(errors.len(), 2);
        assert!(
            message.contains("it contains neither memory.current nor memory.usage_in_bytes"),
            "{message}"
        );
        assert_eq!(Tree::new(&[]).names("0::/\n"), [""; 0]);
        assert_eq!(Tree::new(&[]).names(""), [""; 0]);
    }

    #[test]
    fn a_limit_that_cannot_be_read_is_not_taken_for_none() {
        let tree = Tree::new(&[
            ("a/b/c/memory.current", "500\n"),
            ("a/b/c/memory.max", "much\n"),
            ("a/b/memory.current", "\n"),
            ("a/b/memory.max", "1000\n"),
            ("a/memory.current", "500\n"),
            // A folder: it is there, and cannot be read.
            ("a/memory.max/file", ""),
            ("memory.current", "500\n"),
        ]);
        let (usage, errors) = nearest_limit(&tree.folders("0::/a/b/c\n"));
        assert_eq!(usage, None, "without a file there is no limit");
        let messages: Vec<_> = errors.iter().map(|error| error.why.clone()).collect();
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0], "memory.max contains \"much\" instead of a number");
        assert_eq!(messages[1], "memory.current contains \"\" instead of a number");
        assert!(messages[2].starts_with("memory.max: "), "{}", messages[2]);
    }
}
