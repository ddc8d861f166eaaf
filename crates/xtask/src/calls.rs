//! Calls that V8 leaves as they are.
//!
//! Proxy-Wasm's host turns Liftoff off, so V8 has no counts of calls. It copies each callee into its caller until the copies are
//! twice as long as the caller (V8's `InliningTree::NoLiftoffBudget`), and a copy may have copies of its own from what is left. A
//! short function that calls a long one then takes the long one along to each of its callers. Half of the compilation went into
//! such copies, and a cached request is no faster for them (`docs/tuning.md`). V8 copies nothing for a call through the table.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use walrus::ir::{Call, CallIndirect, Const, Instr, InstrSeq, Value, VisitorMut, dfs_pre_order_mut};
use walrus::{ConstExpr, ElementItems, ElementKind, FunctionId, TableId, TypeId};

use crate::merge;

/// Bytes of code from which a callee is long. Calls of shorter ones through the table took 1,900 bytes and no work from V8.
const LONG: usize = 120;

/// The module with calls through the table, for each callee that is long and at least half as long as its caller.
pub(crate) fn through_table(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = merge::config().parse(wasm)?;
    let bodies = merge::bodies(wasm)?;
    let callees = module.funcs.iter_local().zip(bodies);
    let callees: HashMap<_, _> =
        callees.map(|((id, function), body)| (id, Callee { size: body.len(), ty: function.ty() })).collect();

    ensure!(module.tables.iter().count() == 1, "the module has more than one table");
    let table = module.tables.main_function_table()?.context("the module has no table of functions")?;
    let first = u32::try_from(module.tables.get(table).initial)?;
    let mut calls =
        Calls { callees: &callees, caller: 0, table, first, places: HashMap::new(), in_table: Vec::new() };
    for (id, function) in module.funcs.iter_local_mut() {
        calls.caller = callees[&id].size;
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut calls, function, entry);
    }

    let in_table = calls.in_table;
    let size = u64::from(first) + in_table.len() as u64;
    let at = ConstExpr::Value(Value::I32(i32::try_from(first)?));
    let segment =
        module.elements.add(ElementKind::Active { table, offset: at }, ElementItems::Functions(in_table));
    let table = module.tables.get_mut(table);
    (table.initial, table.maximum) = (size, Some(size));
    table.elem_segments.insert(segment);
    Ok(module.emit_wasm())
}

struct Callee {
    size: usize,
    ty: TypeId,
}

struct Calls<'a> {
    callees: &'a HashMap<FunctionId, Callee>,
    /// Bytes of code of the function that is being read.
    caller: usize,
    table: TableId,
    /// The first place in the table that is ours.
    first: u32,
    places: HashMap<FunctionId, u32>,
    /// By their places.
    in_table: Vec<FunctionId>,
}

impl Calls<'_> {
    /// The call through the table that does what `instr` does, if that is a call to be changed.
    fn change(&mut self, instr: &Instr) -> Option<[Instr; 2]> {
        let Instr::Call(Call { func }) = instr else { return None };
        let callee = self.callees.get(func).filter(|it| it.size >= LONG && 2 * it.size >= self.caller)?;
        let next = self.first + self.in_table.len() as u32;
        let place = *self.places.entry(*func).or_insert_with(|| {
            self.in_table.push(*func);
            next
        });
        Some([
            Const { value: Value::I32(place as i32) }.into(),
            CallIndirect { ty: callee.ty, table: self.table }.into(),
        ])
    }
}

impl VisitorMut for Calls<'_> {
    fn start_instr_seq_mut(&mut self, seq: &mut InstrSeq) {
        for (instr, location) in std::mem::take(&mut seq.instrs) {
            match self.change(&instr) {
                Some(call) => seq.instrs.extend(call.map(|instr| (instr, location))),
                None => seq.instrs.push((instr, location)),
            }
        }
    }
}
