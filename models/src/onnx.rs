//! The only file that touches the ONNX runtime (tract): reading a graph, fixing its shape, running it.
//!
//! tract is written for models one trusts: on damaged files it panics in places (an output that no
//! node makes, a tensor type it has no code for). So the graph is checked first for what is known to
//! be wrong, and [`compile`] and [`Session::run`] turn whatever panic is left into an error.

use std::sync::Arc;

use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto, tensor_proto};
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec,
    Tensor, TractError, TypedSimplePlan, TypedSimpleState, tvec,
};

use crate::info::OutputInfo;
use crate::panics::contain;
use crate::spec::{LoadError, MODEL_NODES_MAX, ModelSpec};
use crate::vector_state::clear_upper_halves;

/// A panic of the runtime as one of its errors.
fn panicked(on: &str, message: &str) -> TractError {
    TractError::msg(format!("the ONNX runtime panicked on {on}: {message}"))
}

/// A graph as read, and the names of what goes in and comes out.
#[derive(Debug)]
pub(crate) struct Parsed {
    proto: ModelProto,
    /// The version that the file states; 0 if it states none.
    pub(crate) version: i64,
    /// Names of the inputs that are no weights.
    pub(crate) inputs: Vec<String>,
    /// Names of the outputs.
    pub(crate) outputs: Vec<String>,
}

/// An optimised model of one shape; shared by threads.
#[derive(Debug)]
pub(crate) struct Plan {
    plan: Arc<TypedSimplePlan>,
    batch: usize,
    features: usize,
    /// Where each score of a row is; at least one.
    scores: Vec<ScoreAt>,
}

/// Where one of the scores of a row is.
#[derive(Clone, Copy, Debug)]
struct ScoreAt {
    /// The output of the run.
    output: usize,
    /// Values of a row of it.
    width: usize,
    /// Which of them.
    index: usize,
}

/// One thread's running state and buffers.
#[derive(Debug)]
pub(crate) struct Session {
    plan: Arc<Plan>,
    state: TypedSimpleState,
    /// Lent to the runtime for a run and taken back: nobody else holds it between runs.
    input: Arc<Tensor>,
    /// Rows of `input` that may hold numbers of an earlier batch.
    dirty_rows: usize,
}

/// Reads the graph and checks what can be checked without running anything.
///
/// # Errors
/// Not ONNX, too many nodes, data in other files, outputs that nothing makes.
pub(crate) fn parse(spec: &ModelSpec) -> Result<Parsed, LoadError> {
    let name = || spec.name.clone();
    let proto = tract_onnx::onnx()
        .proto_model_for_read(&mut spec.source.as_slice())
        .map_err(|error| LoadError::NotOnnx {
            name: name(),
            reason: chain(&error),
        })?;
    let Some(graph) = proto.graph.as_ref() else {
        return Err(LoadError::NotOnnx {
            name: name(),
            reason: "it has no graph".to_owned(),
        });
    };
    let nodes = count_nodes(graph);
    if nodes > MODEL_NODES_MAX {
        return Err(LoadError::TooLarge {
            name: name(),
            what: "nodes",
            value: nodes,
            max: MODEL_NODES_MAX,
        });
    }
    if let Some(tensor) = external_tensor(graph) {
        return Err(LoadError::ExternalData {
            name: name(),
            tensor: tensor.name.clone(),
        });
    }
    if let Some(orphan) = orphan_output(graph) {
        return Err(LoadError::NotOnnx {
            name: name(),
            reason: format!("no node makes its output `{orphan}`"),
        });
    }
    let is_weight = |input: &ValueInfoProto| graph.initializer.iter().any(|t| t.name == input.name);
    let names = |infos: &mut dyn Iterator<Item = &ValueInfoProto>| -> Vec<String> {
        infos.map(|info| info.name.clone()).collect()
    };
    Ok(Parsed {
        version: proto.model_version,
        inputs: names(&mut graph.input.iter().filter(|input| !is_weight(input))),
        outputs: names(&mut graph.output.iter()),
        proto,
    })
}

/// Fixes the shape, optimises, and makes the plan that threads share. `input` and the tensors of `outputs` are names
/// out of `parsed`.
///
/// # Errors
/// Shapes that the pipeline cannot feed or read, and whatever the runtime refuses.
pub(crate) fn compile(
    spec: &ModelSpec,
    parsed: &Parsed,
    input: &str,
    outputs: &[OutputInfo],
) -> Result<Plan, LoadError> {
    check_input(spec, parsed, input)?;
    let mut tensors: Vec<&str> = Vec::new();
    for output in outputs {
        if !tensors.contains(&output.tensor.as_str()) {
            tensors.push(&output.tensor);
        }
    }
    let plan = contain(|| optimise(spec, parsed, &tensors));
    let plan = plan
        .unwrap_or_else(|message| Err(panicked("this graph", &message)))
        .map_err(|error| not_runnable(spec, &error))?;
    let widths = tensors.iter().enumerate();
    let widths = widths.map(|(at, tensor)| width(spec, &plan, at, tensor));
    let widths = widths.collect::<Result<Vec<_>, _>>()?;
    let placed = outputs.iter().map(|output| {
        let mut of_tensors = tensors.iter().zip(&widths).enumerate();
        let found = of_tensors.find(|(_, (tensor, _))| **tensor == output.tensor);
        let (at, width) = found.map_or((0, 0), |(at, (_, width))| (at, *width));
        score_at(spec, output, at, width)
    });
    Ok(Plan {
        scores: placed.collect::<Result<Vec<_>, _>>()?,
        plan,
        batch: spec.batch,
        features: spec.features,
    })
}

fn optimise(
    spec: &ModelSpec,
    parsed: &Parsed,
    outputs: &[&str],
) -> Result<Arc<TypedSimplePlan>, TractError> {
    // Hints about shapes inside the graph would name the free batch dimension that is fixed here.
    let mut graph = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .model_for_proto_model(&parsed.proto)?;
    let fact = InferenceFact::dt_shape(f32::datum_type(), [spec.batch, spec.features]);
    graph.set_input_fact(0, fact)?;
    let known: Vec<_> = parsed.outputs.iter().zip(&graph.outputs).collect();
    let outlets = outputs.iter().filter_map(|output| {
        let (_, outlet) = known.iter().find(|(name, _)| name == output)?;
        Some(**outlet)
    });
    let outlets: Vec<_> = outlets.collect();
    graph.select_output_outlets(&outlets)?;
    graph.into_optimized()?.into_runnable()
}

/// The input must be float32 `[batch or free, features or free]`.
fn check_input(spec: &ModelSpec, parsed: &Parsed, input: &str) -> Result<(), LoadError> {
    let graph = parsed.proto.graph.as_ref();
    let info = graph.and_then(|graph| graph.input.iter().find(|info| info.name == input));
    let tensor = info
        .and_then(|info| info.r#type.as_ref()?.value.as_ref())
        .map(|TypeValue::TensorType(tensor)| tensor);
    let dims: Option<Vec<Option<i64>>> = tensor.and_then(|tensor| {
        let dim = |value: &Option<DimValue>| match value {
            Some(DimValue::DimValue(size)) => Some(*size),
            _ => None,
        };
        let shape = tensor.shape.as_ref()?;
        Some(shape.dim.iter().map(|d| dim(&d.value)).collect())
    });
    let is_float = tensor.is_some_and(|t| t.elem_type == tensor_proto::DataType::Float as i32);
    let Some([rows, width]) = dims.as_deref().filter(|_| is_float) else {
        let kind = tensor.and_then(|t| tensor_proto::DataType::try_from(t.elem_type).ok());
        return Err(LoadError::InputShape {
            name: spec.name.clone(),
            input: input.to_owned(),
            actual: describe(kind, dims.as_deref()),
        });
    };
    let differs = |size: &Option<i64>, expected: usize| match size {
        Some(size) => usize::try_from(*size).ok().filter(|size| *size != expected),
        None => None,
    };
    if let Some(actual) = differs(width, spec.features) {
        return Err(LoadError::FeatureCount {
            name: spec.name.clone(),
            actual,
            expected: spec.features,
        });
    }
    if let Some(actual) = differs(rows, spec.batch) {
        return Err(LoadError::BatchSize {
            name: spec.name.clone(),
            actual,
            expected: spec.batch,
        });
    }
    Ok(())
}

fn describe(kind: Option<tensor_proto::DataType>, dims: Option<&[Option<i64>]>) -> String {
    let kind = kind.map_or("of unknown type", |kind| kind.as_str_name());
    let Some(dims) = dims else {
        return format!("{} of any shape", kind.to_ascii_lowercase());
    };
    let sizes: Vec<String> = dims
        .iter()
        .map(|dim| dim.map_or_else(|| "?".to_owned(), |size| size.to_string()))
        .collect();
    format!("{} [{}]", kind.to_ascii_lowercase(), sizes.join(", "))
}

/// Values of a row of an output of the plan, which must be float32 `[batch]` or `[batch, n]`.
fn width(
    spec: &ModelSpec,
    plan: &TypedSimplePlan,
    at: usize,
    tensor: &str,
) -> Result<usize, LoadError> {
    let fact = plan
        .model()
        .output_fact(at)
        .map_err(|error| not_runnable(spec, &error))?;
    let shape = fact.shape.as_concrete();
    let width = match shape {
        Some([rows]) if *rows == spec.batch => Some(1),
        Some([rows, width]) if *rows == spec.batch => Some(*width),
        _ => None,
    };
    width
        .filter(|_| fact.datum_type == f32::datum_type())
        .ok_or_else(|| LoadError::OutputShape {
            name: spec.name.clone(),
            output: tensor.to_owned(),
            actual: format!("{:?} {:?}", fact.datum_type, shape.unwrap_or_default()),
            batch: spec.batch,
        })
}

fn score_at(
    spec: &ModelSpec,
    wanted: &OutputInfo,
    output: usize,
    width: usize,
) -> Result<ScoreAt, LoadError> {
    let index = wanted.index;
    if index >= width {
        return Err(LoadError::OutputIndex {
            name: spec.name.clone(),
            of: wanted.name.clone(),
            output: wanted.tensor.clone(),
            width,
            index,
        });
    }
    Ok(ScoreAt {
        output,
        width,
        index,
    })
}

fn spawn(plan: &Plan) -> Result<TypedSimpleState, TractError> {
    contain(|| plan.plan.spawn()).unwrap_or_else(|message| Err(panicked("a new state", &message)))
}

impl Session {
    /// A state of its own for one thread; cheap next to loading.
    ///
    /// # Errors
    /// What the runtime says if it cannot make one.
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Self, TractError> {
        Ok(Self {
            state: spawn(plan)?,
            input: Arc::new(Tensor::zero::<f32>(&[plan.batch, plan.features])?),
            dirty_rows: 0,
            plan: Arc::clone(plan),
        })
    }

    /// Runs one batch: `rows` holds at most a batch of whole rows, the rest of the shape is zeros.
    /// Adds the scores of each row to `scores`.
    ///
    /// # Errors
    /// What the runtime says.
    pub(crate) fn run(&mut self, rows: &[f32], scores: &mut Vec<f32>) -> Result<(), TractError> {
        let count = rows.len() / self.plan.features;
        self.fill(rows, count)?;
        let outputs = self.execute()?;
        let wanted = &self.plan.scores;
        let start = scores.len();
        scores.resize(start + count * wanted.len(), 0.0);
        let of_batch = scores.get_mut(start..).unwrap_or_default();
        for (at, score) in wanted.iter().enumerate() {
            let output = outputs
                .get(score.output)
                .ok_or_else(|| TractError::msg("the run gave too few outputs"))?;
            let view = output.try_as_plain_ram()?;
            let values = view.as_slice::<f32>()?;
            if values.len() != self.plan.batch * score.width {
                return Err(TractError::msg("the run gave an output of another shape"));
            }
            let column = of_batch.iter_mut().skip(at).step_by(wanted.len());
            let values = values.iter().skip(score.index).step_by(score.width);
            column.zip(values).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    /// A failed run may have left anything in the state, so the next one gets a new state.
    fn execute(&mut self) -> Result<TVec<TValue>, TractError> {
        let inputs = tvec!(Arc::clone(&self.input).into_tvalue());
        let ran = contain(|| self.state.run(inputs));
        clear_upper_halves();
        let ran = ran.unwrap_or_else(|message| Err(panicked("these rows", &message)));
        if ran.is_err() {
            self.state = spawn(&self.plan)?;
        }
        ran
    }

    fn fill(&mut self, rows: &[f32], count: usize) -> Result<(), TractError> {
        if Arc::get_mut(&mut self.input).is_none() {
            // A failed run can have kept the buffer.
            self.input = Arc::new(Tensor::zero::<f32>(&[self.plan.batch, self.plan.features])?);
            self.dirty_rows = 0;
        }
        let tensor = Arc::get_mut(&mut self.input)
            .ok_or_else(|| TractError::msg("the input buffer is still in use"))?;
        let mut view = tensor.try_as_plain_ram_mut()?;
        let values = view.as_slice_mut::<f32>()?;
        let (used, rest) = values
            .split_at_mut_checked(rows.len())
            .ok_or_else(|| TractError::msg("more rows than the batch holds"))?;
        used.copy_from_slice(rows);
        let stale = self.dirty_rows.saturating_sub(count) * self.plan.features;
        rest.iter_mut().take(stale).for_each(|value| *value = 0.0);
        self.dirty_rows = count;
        Ok(())
    }
}

fn not_runnable(spec: &ModelSpec, error: &TractError) -> LoadError {
    LoadError::NotRunnable {
        name: spec.name.clone(),
        reason: chain(error),
    }
}

/// All causes in one line.
fn chain(error: &TractError) -> String {
    format!("{error:#}").replace('\n', " ")
}

/// Graphs inside nodes (`If`, `Loop`, `Scan`); protobuf's reader bounds how deep they lie.
fn subgraphs(graph: &GraphProto) -> impl Iterator<Item = &GraphProto> {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

fn count_nodes(graph: &GraphProto) -> usize {
    graph.node.len() + subgraphs(graph).map(count_nodes).sum::<usize>()
}

fn external_tensor(graph: &GraphProto) -> Option<&TensorProto> {
    let is_external = |tensor: &&TensorProto| {
        tensor.data_location == Some(tensor_proto::DataLocation::External as i32)
            || !tensor.external_data.is_empty()
    };
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let constants = attributes.flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
    let mut tensors = graph.initializer.iter().chain(constants);
    tensors
        .find(is_external)
        .or_else(|| subgraphs(graph).find_map(external_tensor))
}

fn orphan_output(graph: &GraphProto) -> Option<&str> {
    let made = |name: &String| {
        graph.node.iter().any(|node| node.output.contains(name))
            || graph.input.iter().any(|input| input.name == *name)
            || graph.initializer.iter().any(|tensor| tensor.name == *name)
    };
    let orphan = graph.output.iter().find(|output| !made(&output.name));
    orphan.map(|output| output.name.as_str())
}
