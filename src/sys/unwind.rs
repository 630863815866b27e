//! The unwinder's entry points, taken away: a panic aborts and the stack is never walked, so the
//! library that could (libunwind, which std would bring along) is not linked. 45 KB.
//!
//! Source: the Itanium C++ ABI, "Exception Handling"; std's panic hook calls `_Unwind_Backtrace`
//! when `RUST_BACKTRACE` is set, and then shows no frames.

use std::os::raw::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no frames.
const END_OF_STACK: c_int = 5;

/// Walks no frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_: *const c_void, _: *mut c_void) -> c_int {
    END_OF_STACK
}

macro_rules! never_called {
    ($($name:ident)*) => {$(
        /// Only called while unwinding or walking frames, which does not happen.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

never_called! {
    _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_GetCFA _Unwind_GetDataRelBase
    _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart
    _Unwind_GetTextRelBase _Unwind_RaiseException _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
}
