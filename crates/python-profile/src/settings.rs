//! What the environment says.

use std::env;
use std::ffi::OsString;

/// How the profile is taken, and where it goes.
pub struct Settings {
    /// The name of the file.
    pub file: OsString,
    /// The mean distance of two samples, in bytes.
    pub interval: u64,
    /// The name of the signal at which the profile is written.
    pub signal: Option<String>,
}

impl Settings {
    /// Reads the variables.
    ///
    /// # Errors
    /// One has a value that it cannot have.
    pub fn from_environment() -> Result<Self, String> {
        const INTERVALS: std::ops::RangeInclusive<u64> = 64..=1 << 30;
        let get = |name: &str| {
            env::var_os(format!("MALLOC_BACKEND_PROFILE{name}")).filter(|value| !value.is_empty())
        };
        if let Some(mode) = get("") {
            return Err(format!(
                "MALLOC_BACKEND_PROFILE={} is for Node; Python writes a file",
                mode.to_string_lossy()
            ));
        }
        let interval = match get("_INTERVAL") {
            None => 512 << 10,
            Some(text) => {
                let number = text.to_str().and_then(|text| text.parse().ok());
                number.filter(|number| INTERVALS.contains(number)).ok_or_else(|| {
                    format!(
                        "MALLOC_BACKEND_PROFILE_INTERVAL must be a number of bytes from {} to {}, not {text:?}",
                        INTERVALS.start(),
                        INTERVALS.end()
                    )
                })?
            }
        };
        let signal = get("_SIGNAL").map(|text| {
            let is_name = |text: &String| {
                text.starts_with("SIG") && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            };
            text.clone().into_string().ok().filter(is_name).ok_or_else(|| {
                format!("MALLOC_BACKEND_PROFILE_SIGNAL must be the name of a signal, such as SIGUSR2, not {text:?}")
            })
        });
        let file = get("_FILE").unwrap_or_else(|| "heap-%p.pb.gz".into());
        Ok(Self { file, interval, signal: signal.transpose()? })
    }
}
