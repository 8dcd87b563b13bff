// memory_shapes.v twice side by side on the same random inputs: `golden` and, synthesized, `gate`.
//
// A read never meets a write of the same word, until after the comparison: what it then gives is not
// defined, and must show. A bench that compares nothing fails.

`timescale 1ns / 1ns

module equal_memories #(parameter CYCLES = 4000);
    localparam OUTPUTS = 36 + 32 + 18 + 9 + 4 + 2 + 1 + 8 + 40 + 3 * 8 + 2 * 16 + 4;

    reg clk = 0;
    always #5 clk = !clk;

    reg [3:0] write = 0;
    reg enable = 0;
    reg [13:0] target = 0, source = 1, anywhere = 0;
    reg [35:0] data = 0;
    wire [OUTPUTS-1:0] expected, found;

`define CONNECT(OUT) (clk, write, enable, target, source, anywhere, data, \
    OUT[35:0], OUT[67:36], OUT[85:68], OUT[94:86], OUT[98:95], OUT[100:99], OUT[101], \
    OUT[109:102], OUT[149:110], OUT[157:150], OUT[165:158], OUT[173:166], OUT[189:174], \
    OUT[205:190], OUT[209:206])
    golden golden `CONNECT(expected);
    gate gate `CONNECT(found);

    integer cycle /*verilator public_flat_rd*/ = 0;
    integer compared /*verilator public_flat_rd*/ = 0;
    integer mismatches /*verilator public_flat_rd*/ = 0;
    integer noticed /*verilator public_flat_rd*/ = 0;
    reg done /*verilator public_flat_rd*/ = 0;
    reg [31:0] draw, more;

    always @(negedge clk) begin
        if (cycle < CYCLES) begin
            compared = compared + 1;
            if (found !== expected) begin
                mismatches = mismatches + 1;
                $display("cycle %0d: outputs differ in bits %h", cycle, found ^ expected);
            end
        end else if (found !== expected) noticed = noticed + 1;
        cycle = cycle + 1;
        done = cycle == CYCLES + 200;

        // 64 places all over each memory, so that what is written is read soon.
        draw = $urandom;
        more = $urandom;
        data = {draw[3:0], more};
        write = draw[7:4];
        enable = draw[9:8] != 0;
        target = {draw[11:10], {2{draw[15:10]}}};
        source = {draw[17:16], {2{draw[21:16]}}};
        anywhere = more[31:18];
        source[0] = !target[0];
        if (cycle > CYCLES) source = target;
    end
endmodule
