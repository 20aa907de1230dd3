//! Where V8 has what in its objects.
//!
//! Node's program exports most of it for debuggers (`v8dbg_…`). The few offsets that it does not export are known for the
//! versions below, from their sources; a known function must be found by them before they are used (`verify.rs`). Another
//! version of V8 is refused.

use std::ffi::{CStr, CString};

use crate::modules;

/// Offsets are from the start of an object, in bytes.
#[derive(Debug)]
pub struct Layout {
    pub function_shared: usize,
    pub shared_name: usize,
    pub shared_script: usize,
    pub map_type: usize,
    pub script_source: usize,
    pub script_name: usize,
    pub script_line_offset: usize,
    pub script_column_offset: usize,
    pub script_line_ends: usize,
    pub script_id: usize,
    /// The index of the number of local names, in words behind the map.
    pub scope_locals: usize,
    /// The index of the first of what varies.
    pub scope_first: usize,
    /// The index of the function's position, if it is at a fixed place.
    pub scope_position: Option<usize>,
    /// From an object with instructions to the first of them. (At most 64.)
    pub code_header: usize,
    pub code_start: usize,
    pub code_size: usize,
    pub code_flags: usize,
    pub code_positions: usize,
    pub code_deoptimization: usize,
    /// The kind of code below which nothing is inlined.
    pub kind_baseline: u32,
    pub inlined_functions: usize,
    pub literals: usize,
    pub inlining_positions: usize,
    pub types: Types,
}

/// Instance types.
#[derive(Debug)]
pub struct Types {
    pub functions: std::ops::RangeInclusive<u16>,
    pub shared: u16,
    pub shared_wrapper: Option<u16>,
    pub scope: u16,
    pub map: u16,
    pub script: u16,
    pub code: u16,
    pub fixed_array: u16,
    pub byte_arrays: [u16; 2],
    pub fixed_arrays: [u16; 3],
    pub first_non_string: u16,
}

/// What V8 does not export.
struct Unexported {
    version: &'static str,
    code: [usize; 5],
    function_types: u16,
    scope_position: Option<usize>,
}

const KNOWN: [Unexported; 4] = [
    // Node 20
    Unexported { version: "11.3", code: [40, 56, 48, 24, 16], function_types: 14, scope_position: None },
    // Node 22
    Unexported { version: "12.4", code: [40, 52, 48, 16, 8], function_types: 16, scope_position: None },
    // Node 24
    Unexported { version: "13.6", code: [40, 56, 52, 16, 8], function_types: 16, scope_position: Some(3) },
    // Node 26
    Unexported { version: "14.6", code: [40, 56, 52, 16, 8], function_types: 16, scope_position: Some(3) },
];

/// The value of an exported constant.
fn constant(name: &str) -> Option<usize> {
    let name = CString::new(format!("v8dbg_{name}")).ok()?;
    let address = program_symbol(&name)?;
    // SAFETY: the program defines the constant, an `int`.
    usize::try_from(unsafe { *(address as *const i32) }).ok()
}

/// The address of what the program itself defines.
pub fn program_symbol(name: &CStr) -> Option<usize> {
    let mut found = None;
    modules::each(|module| {
        if module.is_program() {
            found = module.defined(name);
        }
    });
    found
}

fn required(names: &[&str]) -> Result<usize, String> {
    let missing = || format!("Node exports no constant v8dbg_{}", names[0]);
    names.iter().find_map(|name| constant(name)).ok_or_else(missing)
}

impl Layout {
    /// The layout of the V8 in this process, whose version is `process.versions.v8`.
    pub fn find(version: &str) -> Result<Self, String> {
        let mut numbers = version.split('.');
        let short = format!("{}.{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let Some(known) = KNOWN.iter().find(|known| known.version == short) else {
            let versions = KNOWN.map(|known| known.version).join(", ");
            return Err(format!("V8 {short} is not known; the known versions are {versions}"));
        };
        let type_of = |name: &str| Ok::<_, String>(required(&[&format!("type_{name}")])? as u16);
        let optional = |name: &str| constant(&format!("type_{name}")).map(|value| value as u16);
        let fixed_array = type_of("FixedArray__FIXED_ARRAY_TYPE")?;
        let bytes = type_of("ByteArray__BYTE_ARRAY_TYPE")?;
        let function = type_of("JSFunction__JS_FUNCTION_TYPE")?;
        let last = constant("LastJSFunctionType").map_or(function + known.function_types, |last| last as u16);
        let first = constant("FirstJSFunctionType").map_or(function, |first| first as u16);
        let line_ends = required(&["class_Script__line_ends__Object"])?;
        let name = required(&["class_Script__name__Object"])?;
        let [code_start, code_size, code_flags, code_positions, code_deoptimization] = known.code;
        let code_header = required(&["class_InstructionStream__instruction_start__uintptr_t"])?;
        if !(16..=64).contains(&code_header) {
            return Err(format!(
                "Node's constant for the start of instructions, {code_header}, is not one of V8 {short}"
            ));
        }
        let exported = [
            ("class_Code__instruction_start__Address", code_start),
            ("class_Code__instruction_size__int", code_size),
            ("class_Code__flags__uint32_t", code_flags),
        ];
        for (name, offset) in exported {
            if constant(name).is_some_and(|value| value != offset) {
                return Err(format!("Node's constant v8dbg_{name} is not the one of V8 {short}"));
            }
        }
        Ok(Self {
            function_shared: required(&["class_JSFunction__shared__SharedFunctionInfo"])?,
            shared_name: required(&[
                "class_SharedFunctionInfo__name_or_scope_info__Tagged_NameOrScopeInfoT_",
                "class_SharedFunctionInfo__name_or_scope_info__Tagged_Object_",
                "class_SharedFunctionInfo__name_or_scope_info__Object",
            ])?,
            shared_script: required(&[
                "class_SharedFunctionInfo__script__Tagged_HeapObject_",
                "class_SharedFunctionInfo__script_or_debug_info__HeapObject",
            ])?,
            map_type: required(&["class_Map__instance_type__uint16_t"])?,
            script_source: required(&["class_Script__source__Object"])?,
            script_name: name,
            script_line_offset: name + 8,
            script_column_offset: name + 16,
            script_line_ends: line_ends,
            script_id: line_ends + 8,
            scope_locals: required(&["scopeinfo_idx_ncontextlocals"])?,
            scope_first: required(&["scopeinfo_idx_first_vars"])?,
            scope_position: known.scope_position,
            code_header,
            code_start,
            code_size,
            code_flags,
            code_positions,
            code_deoptimization,
            kind_baseline: required(&["CodeKindBaseline"])? as u32,
            inlined_functions: required(&["DeoptimizationDataInlinedFunctionCountIndex"])?,
            literals: required(&["DeoptimizationDataLiteralArrayIndex"])?,
            inlining_positions: required(&["DeoptimizationDataInliningPositionsIndex"])?,
            types: Types {
                functions: first..=last,
                shared: type_of("SharedFunctionInfo__SHARED_FUNCTION_INFO_TYPE")?,
                shared_wrapper: optional("SharedFunctionInfoWrapper__SHARED_FUNCTION_INFO_WRAPPER_TYPE"),
                scope: type_of("ScopeInfo__SCOPE_INFO_TYPE")?,
                map: type_of("Map__MAP_TYPE")?,
                script: type_of("Script__SCRIPT_TYPE")?,
                code: type_of("Code__CODE_TYPE")?,
                fixed_array,
                byte_arrays: [bytes, optional("TrustedByteArray__TRUSTED_BYTE_ARRAY_TYPE").unwrap_or(bytes)],
                fixed_arrays: [
                    fixed_array,
                    optional("ProtectedFixedArray__PROTECTED_FIXED_ARRAY_TYPE").unwrap_or(fixed_array),
                    optional("TrustedFixedArray__TRUSTED_FIXED_ARRAY_TYPE").unwrap_or(fixed_array),
                ],
                first_non_string: required(&["FirstNonstringType"])? as u16,
            },
        })
    }
}
