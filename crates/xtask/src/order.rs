//! The order of the functions: a call names its callee by number, and a number below 128 is one byte shorter.

use std::cmp::Reverse;
use std::convert::Infallible;

use anyhow::{Context, Result};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{FunctionBody, FunctionSectionReader, Operator, Parser, Payload, TypeRef};

/// The module with the functions that are called most first.
pub(crate) fn by_calls(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut imported = 0;
    let mut calls = Vec::new();
    let mut bodies = Vec::new();
    let mut callees = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(functions) => calls.resize(functions.count() as usize, 0_usize),
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    if let Operator::Call { function_index } = operator? {
                        callees.extend((function_index as usize).checked_sub(imported));
                    }
                }
                bodies.push(body);
            }
            _ => {}
        }
    }
    for callee in callees {
        *calls.get_mut(callee).context("a call to no function")? += 1;
    }

    let mut old: Vec<usize> = (0..calls.len()).collect();
    old.sort_by_key(|function| Reverse(calls[*function]));
    let mut new: Vec<u32> = (0..u32::try_from(imported + old.len())?).collect();
    for (place, function) in old.iter().enumerate() {
        new[imported + function] = u32::try_from(imported + place)?;
    }
    let mut module = Module::new();
    ByCalls { bodies, old, new }.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct ByCalls<'a> {
    /// In the old order.
    bodies: Vec<FunctionBody<'a>>,
    /// By its new place among the module's own functions, the old place of each.
    old: Vec<usize>,
    /// By the old number of each function, imported ones included: the new one.
    new: Vec<u32>,
}

impl Reencode for ByCalls<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> u32 {
        self.new[function as usize]
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in &self.old {
            functions.function(types[*function]);
        }
        Ok(())
    }

    /// Is asked for each body in the old order, and gives them in the new one.
    fn parse_function_body(&mut self, code: &mut CodeSection, _: FunctionBody<'_>) -> Result<(), Error> {
        let body = self.bodies[self.old[code.len() as usize]].clone();
        utils::parse_function_body(self, code, body)
    }
}
